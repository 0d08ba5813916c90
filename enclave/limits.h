/* Limits of the enclave; those marked (option) are defaults of the command line. */
#ifndef EML_ENCLAVE_LIMITS_H
#define EML_ENCLAVE_LIMITS_H

#define EML_IPC_BODY_MAX 16384u  /* bytes of an answer: an attestation document */
#define EML_CACHE_ENTRIES 64u    /* objects in the weights cache */
#define EML_SPARE_WORKERS 2u     /* started ahead of their sessions */
#define EML_HOST_CONNECTS_MAX 4u /* connections to the host for one request; KMS takes two */
#define EML_CONNECT_MS 10000     /* to the host */
#define EML_FETCH_MS 600000      /* one object, whole */
#define EML_FETCH_PIECE_MS 30000 /* the next piece of it */
#define EML_FETCH_PIECE_BYTES 262144u
#define EML_HANDSHAKE_MS 15000 /* from accepting to the client's open message */
#define EML_SEND_MS 60000      /* a client that does not read */
#define EML_LINGER_MS 2000     /* after the last byte, for the client to read it */
#define EML_STOP_MS 2000       /* from SIGTERM to SIGKILL */
#define EML_BACKSTOP_MS 1000   /* a worker's own deadlines after the broker's, which records them */
#define EML_KMS_MS 20000       /* one call to KMS, whole */
#define EML_KMS_RESPONSE_MAX 65536u
#define EML_KMS_CA_BYTES_MAX (1u << 20)

#define EML_AUDIT_QUEUE_MAX 4096u /* records that the host has not acknowledged */
#define EML_AUDIT_START_MS 60000  /* for the boot record to be on the host's disk */
#define EML_AUDIT_SILENT_MS 5000  /* a record waits so long before requests fail */
#define EML_AUDIT_ANSWER_MS 5000  /* one answer of the sink */
#define EML_AUDIT_RETRY_MS 250    /* from a broken connection to the next */

#define EML_THREADS_MAX 64u
#define EML_SESSIONS 16u   /* (option) */
#define EML_SESSION_S 600u /* (option) a session, whatever it does */
#define EML_IDLE_S 60u     /* (option) a session without a request */
#define EML_REQUEST_S 120u /* (option) from a request's first byte to its result's last */
#define EML_MEMORY_BYTES (8ull << 30) /* (option) arena of one session */
#define EML_CACHE_BYTES (4ull << 30)  /* (option) sealed weights kept */
#define EML_FLOPS 1000000000000000ull /* (option) one inference */

#endif
