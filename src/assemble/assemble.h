/* Ephemeral assembly: topology key + sealed weights + inputs -> outputs -> nothing.
 *
 * The one path from encoded bytes to results, the same in the enclave and in `eml run`: decode and
 * check the topology, plan for the inputs' shapes, open the weights into the arena, run, and wipe.
 * Everything secret lies in the arena given; nothing is kept between calls except, in session mode,
 * the decoded topology and the plaintext weights until eml_model_close.
 */
#ifndef EML_ASSEMBLE_ASSEMBLE_H
#define EML_ASSEMBLE_ASSEMBLE_H

#include "engine/engine.h"
#include "topology/topology.h"

/* Where sealed bytes lie, which says what their digest is worth later. */
enum eml_sealed_in {
    EML_SEALED_CHANGEABLE = 0, /* others may write to them, as behind the mapping of a file: the
                                  tags of what is opened are checked */
    EML_SEALED_FIXED, /* nobody can, since before the digest was computed: a memory file sealed
                         against writing, memory of this process alone. The digest vouches for all
                         of them, and tags are left alone where the cipher allows it */
};

struct eml_model { /* plain; lives outside the arena, holds pointers into it and no secret itself */
    struct eml_arena *arena;
    struct eml_topology *topology;
    struct eml_bytes sealed; /* borrowed until close */
    enum eml_sealed_in sealed_in;
    uint8_t digest[32];      /* of `sealed`, compared with the topology's */
    struct eml_room weights; /* plaintext stream; empty unless opened */
    size_t mark_open, mark_weights;
    enum eml_isa isa;
    struct eml_pool *pool;
    uint64_t
        clear_since_ns; /* monotonic time of the first plaintext weight byte; 0 = none in clear */
};

/* Nanoseconds and bytes. Each call adds what it did to the caller's sums; exposure and window_bytes
 * are the latest call's. */
struct eml_times {
    uint64_t decode, plan;
    uint64_t open; /* key schedule and storage order; in session mode decryption, too */
    uint64_t run;  /* in request mode with decryption */
    uint64_t wipe;
    uint64_t exposure; /* first plaintext weight byte to the end of the wipe */
    uint64_t wiped_bytes;
    uint64_t opened_bytes; /* plaintext of weights, counted as often as it was decrypted */
    uint64_t window_bytes; /* the most that can have been in clear at one time */
};

/* Decodes and checks the topology. m->sealed is set later by the caller with eml_model_weights.
 * On failure nothing stays in the arena beyond its mark. */
EML_MUST enum eml_err eml_model_decode(struct eml_model *m, struct eml_arena *arena,
                                       struct eml_bytes topology, enum eml_isa isa,
                                       struct eml_pool *pool, struct eml_times *times,
                                       struct eml_why *why);

/* Borrows the sealed object. `digest` is its SHA-256, computed by somebody trusted. EML_E_INPUT: it
 * has the wrong length; EML_E_AUTH: it is another object than the topology's. On failure the model
 * has no weights, and none can be opened. */
EML_MUST enum eml_err eml_model_weights(struct eml_model *m, struct eml_bytes sealed,
                                        enum eml_sealed_in in, const uint8_t digest[32],
                                        struct eml_why *why);

/* One inference. `inputs` in the order of topology->graph.inputs. `sink` is called once with the
 * outputs while they exist; unless keep_weights, nothing else in the arena is needed any more then,
 * and it may wipe it (eml_arena_wipe_but). keep_weights (session mode): all weights are opened by
 * the first call and stay until close. Otherwise (request mode) each is opened just before it is
 * used, into a window that later ones overwrite, and that is wiped before sink is called. Results
 * are the same. Activations are wiped before this returns, on success and on failure alike. limits:
 * the caller's own ceilings, combined with the topology's. EML_E_USAGE: keep_weights is false
 * though an earlier call kept them; the model can still be used, and closed. */
EML_MUST enum eml_err eml_model_infer(struct eml_model *m, const struct eml_tensor *inputs,
                                      bool keep_weights, const struct eml_budget *limits,
                                      enum eml_err (*sink)(void *ctx,
                                                           const struct eml_tensor *outputs,
                                                           size_t n, const struct eml_times *t),
                                      void *ctx, struct eml_times *times, struct eml_why *why);

/* Wipes everything of this model out of the arena; *m is zero afterwards. */
void eml_model_close(struct eml_model *m, struct eml_times *times);

#endif
