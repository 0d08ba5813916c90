#!/usr/bin/python3
"""usage: key_policy.py PCR0: the body of a KMS CreateKey request whose policy decrypts for one enclave image only."""
import json
import sys

if len(sys.argv) != 2 or len(sys.argv[1]) != 96:
    sys.exit(__doc__)
root = {"AWS": "arn:aws:iam::000000000000:root"}
policy = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "OwnerManagesAndEncrypts", "Effect": "Allow", "Principal": root, "Resource": "*",
         "Action": ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:GenerateDataKey", "kms:Encrypt"]},
        {"Sid": "OnlyThisEnclaveDecrypts", "Effect": "Allow", "Principal": root, "Resource": "*", "Action": "kms:Decrypt",
         "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": sys.argv[1]}}},
    ],
}
print(json.dumps({"Description": "demo", "Policy": json.dumps(policy)}))
