/* Limits of the host; those marked (option) are defaults of the command line. */
#ifndef EML_HOST_LIMITS_H
#define EML_HOST_LIMITS_H

#define EML_HOST_FIRST_FRAME_MS 10000 /* from accepting to the whole first frame */
#define EML_HOST_CONNECT_MS 10000     /* to the enclave or the endpoint */
#define EML_HOST_PIECE_MS 30000       /* one piece of an object, either way */
#define EML_HOST_SETTLE_MS 2          /* without another commit, before files are put in order */
#define EML_HOST_RELAY_BUFFER 65536u  /* each direction of a relay */
#define EML_HOST_PIECE_BYTES 262144u  /* of objects */
#define EML_HOST_HTTP_CONNECTIONS 8u
#define EML_HOST_CREDENTIALS_FILE_MAX 65536u

#define EML_HOST_CONNECTIONS 256u         /* (option) */
#define EML_HOST_IDLE_S 300u              /* (option) a relay without a byte either way */
#define EML_HOST_TOTAL_S 3600u            /* (option) a relay, whatever it does */
#define EML_HOST_OBJECT_MAX (17ull << 30) /* (option) bytes of one object */
#define EML_HOST_STORE_MAX (256ull << 30) /* (option) bytes of all objects */
#define EML_HOST_AUDIT_MAX (16ull << 30)  /* (option) bytes of the audit log */

#endif
