// The unmodified @aws-sdk/client-kms against eml-kmsd: what works with AWS must work here, and fail alike.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import {
    CreateKeyCommand, DecryptCommand, DescribeKeyCommand, EncryptCommand, GenerateDataKeyCommand,
    GenerateRandomCommand, GetKeyPolicyCommand, KMSClient, ListKeysCommand, PutKeyPolicyCommand,
} from '@aws-sdk/client-kms';

const { EML_KMS_PORT: port, EML_WORK: work, EML_ATTEST_KEY: attestKey } = process.env;
const accountRoot = { AWS: 'arn:aws:iam::000000000000:root' };
const secret = Buffer.from('secret');
const EncryptionContext = { model: 'demo', version: '1' };

function client(accessKeyId = 'AKIDTEST', secretAccessKey = 'test-secret', more = {}) {
    return new KMSClient({
        region: 'us-east-1', endpoint: `https://localhost:${port}`, maxAttempts: 1,
        credentials: { accessKeyId, secretAccessKey }, ...more,
    });
}
const kms = client();

function attested(publicKey) {
    const AttestationDocument = execFileSync(attestKey, { input: publicKey });
    return { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument };
}

function rsa(bits = 2048) {
    return generateKeyPairSync('rsa', {
        modulusLength: bits, publicKeyEncoding: { type: 'spki', format: 'der' },
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
}

// OpenSSL's CMS, which knows nothing of ours.
function openCms(blob, pem) {
    const file = join(work, 'recipient.pem');
    writeFileSync(file, pem, { mode: 0o600 });
    return execFileSync('openssl', ['cms', '-decrypt', '-binary', '-inform', 'DER', '-inkey', file], { input: blob });
}

function policyFor(conditions) {
    return JSON.stringify({
        Version: '2012-10-17',
        Statement: [
            {
                Effect: 'Allow', Principal: accountRoot, Resource: '*',
                Action: ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:PutKeyPolicy', 'kms:Encrypt', 'kms:GenerateDataKey'],
            },
            { Effect: 'Allow', Principal: accountRoot, Resource: '*', Action: 'kms:Decrypt', Condition: conditions },
        ],
    });
}

async function newKey(Policy) {
    const { KeyMetadata } = await kms.send(new CreateKeyCommand({ Policy, Description: 'test' }));
    assert.match(KeyMetadata.Arn, /^arn:aws:kms:us-east-1:000000000000:key\/[0-9a-f-]{36}$/);
    return KeyMetadata.Arn;
}

const failsWith = (command, name, by = kms) => assert.rejects(by.send(command), (e) => {
    assert.equal(e.name, name);
    assert.equal(e.$metadata.httpStatusCode, 400);
    return true;
});

let pcrs, openKey, pinnedKey, otherKey, key;
before(async () => {
    pcrs = JSON.parse(readFileSync(join(work, 'pcrs.json')));
    openKey = await newKey();
    pinnedKey = await newKey(policyFor({ StringEqualsIgnoreCase: { 'kms:RecipientAttestation:PCR0': pcrs[0].toUpperCase() } }));
    otherKey = await newKey(policyFor({ StringEqualsIgnoreCase: { 'kms:RecipientAttestation:PCR0': 'ab'.repeat(48) } }));
    key = rsa();
});

test('keys are made, described and listed', async () => {
    const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId: openKey }));
    assert.equal(KeyMetadata.Arn, openKey);
    assert.equal(KeyMetadata.KeyState, 'Enabled');
    assert.ok(KeyMetadata.CreationDate instanceof Date);
    const { Keys } = await kms.send(new ListKeysCommand({}));
    assert.ok(Keys.some((k) => k.KeyArn === openKey));
    await failsWith(new DescribeKeyCommand({ KeyId: '00000000-0000-4000-8000-000000000000' }), 'NotFoundException');
});

test('policies are read and replaced; unsupported ones are refused', async () => {
    const arn = await newKey();
    const Policy = policyFor({ Bool: { 'aws:SecureTransport': 'true' } });
    await kms.send(new PutKeyPolicyCommand({ KeyId: arn, Policy }));
    const got = await kms.send(new GetKeyPolicyCommand({ KeyId: arn }));
    assert.deepEqual(JSON.parse(got.Policy), JSON.parse(Policy));
    await failsWith(new CreateKeyCommand({ Policy: policyFor({ DateGreaterThan: { 'aws:CurrentTime': 'x' } }) }),
        'MalformedPolicyDocumentException');
});

test('encrypt and decrypt, bound to the encryption context', async () => {
    const { CiphertextBlob, KeyId } = await kms.send(new EncryptCommand({ KeyId: openKey, Plaintext: secret, EncryptionContext }));
    assert.equal(KeyId, openKey);
    const back = await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext, KeyId: openKey }));
    assert.deepEqual(Buffer.from(back.Plaintext), secret);
    assert.equal(back.KeyId, openKey);
    await failsWith(new DecryptCommand({ CiphertextBlob }), 'InvalidCiphertextException');
    await failsWith(new DecryptCommand({ CiphertextBlob, EncryptionContext: { ...EncryptionContext, version: '2' } }),
        'InvalidCiphertextException');
    await failsWith(new DecryptCommand({ CiphertextBlob, EncryptionContext, KeyId: otherKey }), 'IncorrectKeyException');
    CiphertextBlob[CiphertextBlob.length - 1] ^= 1;
    await failsWith(new DecryptCommand({ CiphertextBlob, EncryptionContext }), 'InvalidCiphertextException');
});

test('a data key for a recipient is sealed to it, and the blob decrypts to the same key', async () => {
    const made = await kms.send(new GenerateDataKeyCommand({
        KeyId: pinnedKey, KeySpec: 'AES_256', EncryptionContext, Recipient: attested(key.publicKey),
    }));
    assert.equal(made.Plaintext, undefined);
    assert.equal(made.KeyId, pinnedKey);
    const dataKey = openCms(made.CiphertextForRecipient, key.privateKey);
    assert.equal(dataKey.length, 32);
    const again = await kms.send(new DecryptCommand({
        CiphertextBlob: made.CiphertextBlob, EncryptionContext, Recipient: attested(key.publicKey),
    }));
    assert.equal(again.Plaintext, undefined);
    assert.deepEqual(openCms(again.CiphertextForRecipient, key.privateKey), dataKey);
});

test('random bytes for a recipient', async () => {
    const clear = await kms.send(new GenerateRandomCommand({ NumberOfBytes: 24 }));
    assert.equal(clear.Plaintext.length, 24);
    const sealed = await kms.send(new GenerateRandomCommand({ NumberOfBytes: 24, Recipient: attested(key.publicKey) }));
    assert.equal(openCms(sealed.CiphertextForRecipient, key.privateKey).length, 24);
});

test('another measurement, or none, decrypts nothing', async () => {
    const pinned = await kms.send(new EncryptCommand({ KeyId: pinnedKey, Plaintext: secret }));
    const other = await kms.send(new EncryptCommand({ KeyId: otherKey, Plaintext: secret }));
    const Recipient = attested(key.publicKey);
    const { CiphertextForRecipient } = await kms.send(new DecryptCommand({ CiphertextBlob: pinned.CiphertextBlob, Recipient }));
    assert.deepEqual(openCms(CiphertextForRecipient, key.privateKey), secret);
    await failsWith(new DecryptCommand({ CiphertextBlob: other.CiphertextBlob, Recipient }), 'AccessDeniedException');
    await failsWith(new DecryptCommand({ CiphertextBlob: pinned.CiphertextBlob }), 'AccessDeniedException');
});

test('documents that do not hold are refused', async () => {
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId: pinnedKey, Plaintext: secret }));
    const good = attested(key.publicKey);
    const spoiled = Buffer.from(good.AttestationDocument);
    spoiled[spoiled.length - 1] ^= 1;
    const bad = [
        { ...good, AttestationDocument: spoiled },
        { ...good, AttestationDocument: good.AttestationDocument.subarray(0, 1000) },
        attested(rsa(3072).publicKey),
        attested(generateKeyPairSync('ec', {
            namedCurve: 'P-256', publicKeyEncoding: { type: 'spki', format: 'der' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        }).publicKey),
    ];
    for (const Recipient of bad)
        await failsWith(new DecryptCommand({ CiphertextBlob, Recipient }), 'ValidationException');
});

test('callers are who their signatures say', async () => {
    const list = new ListKeysCommand({});
    await failsWith(list, 'InvalidSignatureException', client('AKIDTEST', 'wrong-secret'));
    await failsWith(list, 'UnrecognizedClientException', client('AKIDNOBODY', 'test-secret'));
    await failsWith(list, 'InvalidSignatureException', client('AKIDTEST', 'test-secret', { systemClockOffset: 10 * 60 * 1000 }));
    await failsWith(list, 'InvalidSignatureException', client('AKIDTEST', 'test-secret', { region: 'eu-west-1' }));
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId: openKey, Plaintext: secret }));
    await failsWith(new DecryptCommand({ CiphertextBlob }), 'AccessDeniedException', client('AKIDOTHER', 'other-secret'));
});

test('a certificate of another authority is not trusted, and there is no plain HTTP', async () => {
    await assert.rejects(fetch(`http://localhost:${port}/`));
    assert.throws(() => execFileSync('openssl', ['s_client', '-connect', `localhost:${port}`, '-verify_return_error', '-brief'],
        { input: '', stdio: 'pipe' }));
});
