/* GET /metrics (Prometheus text) and GET /health over HTTP, by libmicrohttpd. Nothing else. */
#ifndef EML_HOST_HTTP_H
#define EML_HOST_HTTP_H

#include "host/serve.h"

struct eml_http;
/* address: HOST:PORT, HOST a number ("127.0.0.1:9100"; an IPv6 one in brackets). */
EML_MUST enum eml_err eml_http_start(const char *address, struct eml_host *h, struct eml_http **out,
                                     struct eml_why *why);
uint16_t eml_http_port(const struct eml_http *s);
void eml_http_stop(struct eml_http *s); /* NULL is allowed */

#endif
