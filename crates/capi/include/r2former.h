/* r2former for C: open an index, locate photographs, add them. docs/c.md explains it.
 * Made by cbindgen (crates/capi/tests/programs.rs has the command). Texts are UTF-8 that ends with 0.
 * MIT or Apache-2.0, at your option. */

#ifndef R2FORMER_H
#define R2FORMER_H

#include <stddef.h>
#include <stdint.h>

// Kinds of errors.
typedef enum r2former_error {
  // The last call succeeded.
  R2FORMER_OK = 0,
  // A request that cannot be met: a null pointer, an option out of range.
  R2FORMER_REQUEST = 1,
  // A photograph that cannot be used.
  R2FORMER_DATA = 2,
  // A file or folder that does not exist, or a folder that holds no index.
  R2FORMER_NOT_FOUND = 3,
  // A model that is damaged or not supported.
  R2FORMER_MODEL = 4,
  // A device that is unknown, fails, or disagrees with the CPU.
  R2FORMER_DEVICE = 5,
  // An index that cannot be read or written.
  R2FORMER_INDEX = 6,
  // Another writer has the index: try again.
  R2FORMER_BUSY = 7,
  // A damaged index.
  R2FORMER_DAMAGED = 8,
  // A fault of the library; please report it.
  R2FORMER_INTERNAL = 9,
} r2former_error;

// Whether a query has an answer.
typedef enum r2former_status {
  // There are matches.
  R2FORMER_ANSWERED = 0,
  // There are matches, with less confidence than was asked for.
  R2FORMER_NOT_IN_INDEX = 1,
  // Nothing in the index passes the filter, or it is empty.
  R2FORMER_NO_MATCH = 2,
  // The image cannot be used.
  R2FORMER_UNREADABLE = 3,
} r2former_status;

// An open index. Any number of threads may use it at the same time; it is closed once, when none does.
typedef struct r2former_index r2former_index;

// Frames that come one after the other. Threads may share it: frames come in the order of the calls.
typedef struct r2former_sequence r2former_sequence;

// Where an image was taken. What is not known is NaN.
typedef struct r2former_fix {
  // Whether there is an answer.
  enum r2former_status status;
  // Matches within 25 m of the first one, itself included; 0 without an estimate.
  uint32_t agreeing;
  // Of the first 10 matches, those with a position.
  uint32_t considered;
  // The weighted position, or of a frame of a sequence that by it and those before it: latitude in degrees, or y in
  // metres.
  double latitude;
  // Longitude in degrees, or x in metres.
  double longitude;
  // z in metres of an index of local metres.
  double z;
  // Where the camera looks, degrees clockwise from north.
  double heading;
  // Probability that the first match is within 25 m, 0 to 1, of a model that is calibrated.
  double confidence;
  // Cosine of the first match, -1 to 1.
  double similarity;
  // Score of the first match.
  double score;
  // Metres from the first match to the farthest that agrees.
  double spread_m;
  // Half the axes of the ellipse that holds the position in 90 % of correct answers, in metres, of a model that is
  // calibrated.
  double major_m;
  // The shorter one.
  double minor_m;
  // Direction of the major axis, degrees clockwise from north.
  double angle_deg;
  // Of a frame of a sequence, what the frames together give to the position, 0 to 1.
  double probability;
} r2former_fix;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of the library, as `0.1.0`. It is never freed.
const char *r2former_version(void);

// Sizes the thread pool of this process, before anything is computed; all cores by default. Returns 1, or 0 where it
// fails.
int r2former_set_threads(size_t threads);

// The kind of error of the last call of this thread.
enum r2former_error r2former_error_kind(void);

// What went wrong in the last call of this thread; empty if it succeeded. Valid until the thread's next call of this
// library; it is not freed.
const char *r2former_last_error(void);

// The first answer of a document of `r2former_locate` as numbers, or the fix of one of `r2former_sequence_push`, whose
// status is that of the frame alone. Returns 1, or 0 where it is no such document.
//
// # Safety
// `document` is text that ends with 0; `fix` is NULL or can be written.
int r2former_fix_of(const char *document,
                    struct r2former_fix *fix);

// Opens an index: a folder, or a collection of a cluster as `qdrant://HOST:PORT/COLLECTION`. `device` may be NULL for the
// CPU. Returns NULL where it fails.
//
// # Safety
// `path` is text that ends with 0; `device` as well, or NULL.
struct r2former_index *r2former_open(const char *path,
                                     const char *device);

// Creates an empty index of positions in latitude and longitude, in a new or empty folder or as a new collection, and opens
// it. `model` is a model file, or NULL for the built-in model; `device` may be NULL for the CPU. Returns NULL where it
// fails.
//
// # Safety
// `path` is text that ends with 0; `model` and `device` as well, or NULL.
struct r2former_index *r2former_create(const char *path,
                                       const char *model,
                                       const char *device);

// Closes an index that no other thread uses any more. NULL is ignored.
//
// # Safety
// `index` is NULL, or comes from `r2former_open` or `r2former_create` and was not closed before.
void r2former_close(struct r2former_index *index);

// Where was this photograph taken? `bytes` are those of an image file (JPEG, PNG, WebP, TIFF, ...). `options` is NULL or a
// JSON object: top, candidates, rerank, cascade, adaptive, approximate, min_confidence, near, radius, tags, since, until.
// Returns the document of `r2former query --json`, to be freed by `r2former_free`; NULL where it fails. An image that
// cannot be read is an answer with the status `unreadable`.
//
// # Safety
// `index` is open, `length` bytes can be read at `bytes`, `options` is text that ends with 0 or NULL.
char *r2former_locate(const struct r2former_index *index,
                      const uint8_t *bytes,
                      size_t length,
                      const char *options);

// As `r2former_locate`, of a camera's frame: pixels of red, green and blue, 8 bits each, rows from the top, `stride` bytes
// apart.
//
// # Safety
// As of `r2former_locate`; `height` rows of `3 * width` bytes can be read at `pixels`, each `stride` bytes after the one
// before.
char *r2former_locate_rgb(const struct r2former_index *index,
                          const uint8_t *pixels,
                          size_t width,
                          size_t height,
                          size_t stride,
                          const char *options);

// Adds an image under a name of your own, or replaces the one of that name. `fields` is NULL or a JSON object: position
// (`[lat, lon]`, or `[x, y]` or `[x, y, z]` in an index of local metres), heading (degrees clockwise from north), altitude
// (metres), time (seconds since 1970 UTC), tags (an object of texts); what it does not say, the EXIF says. Once it
// returns, the image would survive a power cut, and is found by every query. Returns a JSON object with id, name, added,
// updated and already_indexed, to be freed by `r2former_free`; NULL where it fails.
//
// # Safety
// `index` is open, `name` is text that ends with 0, `fields` as well or NULL, `length` bytes can be read at `bytes`.
char *r2former_add(const struct r2former_index *index,
                   const char *name,
                   const uint8_t *bytes,
                   size_t length,
                   const char *fields);

// As `r2former_add`, of a camera's frame: see `r2former_locate_rgb`.
//
// # Safety
// As of `r2former_add` and `r2former_locate_rgb`.
char *r2former_add_rgb(const struct r2former_index *index,
                       const char *name,
                       const uint8_t *pixels,
                       size_t width,
                       size_t height,
                       size_t stride,
                       const char *fields);

// Removes an image by its name. Returns 1 if it was there, 0 if not, -1 where it fails.
//
// # Safety
// `index` is open, `name` is text that ends with 0.
int r2former_remove(const struct r2former_index *index, const char *name);

// Images, bytes, extent and model: the document of `r2former index info --json`, to be freed by `r2former_free`; NULL
// where it fails.
//
// # Safety
// `index` is open.
char *r2former_info(const struct r2former_index *index);

// Lets other processes write to the index: it is locked from the first change on until this is called or it is closed.
// Returns 1, or 0 where it fails.
//
// # Safety
// `index` is open.
int r2former_release_writer(const struct r2former_index *index);

// Frees a document. NULL is ignored.
//
// # Safety
// `document` is NULL, or comes from a function of this library and was not freed before.
void r2former_free(char *document);

// Begins a sequence: frames that come one after the other, as those of a robot, each fused with those before it. `options`
// is NULL or a JSON object with the keys of `r2former_locate`, max_speed (metres per second that are not exceeded; 15; not
// in an index without positions) and max_step (metres between two frames without times; 15). Returns NULL where it fails. The index may be closed before
// the sequence ends; it is then open until that.
//
// # Safety
// `index` is open, `options` is text that ends with 0 or NULL.
struct r2former_sequence *r2former_sequence_begin(const struct r2former_index *index,
                                                  const char *options);

// Takes the next frame, the bytes of an image file. `time` is when it was taken, in seconds from any start, or NaN for that
// of its EXIF; once a time was given, NaN is none, and to give one behind frames with times of their EXIF fails, as clocks are
// not mixed. `moved` are the metres travelled since the frame before, by odometry, or NaN. Returns a JSON object, to be freed
// by `r2former_free`: answers (one, by this frame alone), frame (its number, from 1) and fix (place, position and
// probability by this frame and those before it, or null before the first candidate); NULL where it fails, and then the
// frame was not taken. An image that cannot be read is a frame, too. `r2former_fix_of` gives the fix as numbers.
//
// # Safety
// `sequence` has not ended, `length` bytes can be read at `bytes`.
char *r2former_sequence_push(const struct r2former_sequence *sequence,
                             const uint8_t *bytes,
                             size_t length,
                             double time,
                             double moved);

// As `r2former_sequence_push`, of a camera's frame: see `r2former_locate_rgb`.
//
// # Safety
// As of `r2former_sequence_push` and `r2former_locate_rgb`.
char *r2former_sequence_push_rgb(const struct r2former_sequence *sequence,
                                 const uint8_t *pixels,
                                 size_t width,
                                 size_t height,
                                 size_t stride,
                                 double time,
                                 double moved);

// The most probable way through all frames so far: the document of `r2former query --sequence --json`, to be freed by
// `r2former_free`; NULL where it fails. Each frame is remembered for it, with some 30 kB for 100 candidates.
//
// # Safety
// `sequence` has not ended.
char *r2former_sequence_track(const struct r2former_sequence *sequence);

// Ends a sequence that no other thread uses any more. NULL is ignored.
//
// # Safety
// `sequence` is NULL, or comes from `r2former_sequence_begin` and was not ended before.
void r2former_sequence_end(struct r2former_sequence *sequence);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* R2FORMER_H */
