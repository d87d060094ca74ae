// An http server in C that says which Pod answered, written straight against the canonical ABI of
// ../wit/http.wit: no libc, no allocator, no generated code. A few kilobytes.

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define TYPES "wasi:http/types@0.2.0"
#define STREAMS "wasi:io/streams@0.2.0"

typedef int handle;
typedef __SIZE_TYPE__ size;

typedef struct {
  const char *at;
  size length;
} text;

typedef struct {
  text name, value;
} variable;

typedef struct {
  variable *at;
  size length;
} variables;

// A result that does not fit a register is written here: whether it is an error, then its value.
typedef struct {
  unsigned char failed;
  _Alignas(4) handle value;
} answer;

IMPORT("wasi:cli/environment@0.2.0", "get-environment") void get_environment(variables *);
IMPORT(TYPES, "[constructor]fields") handle fields(void);
IMPORT(TYPES, "[method]fields.append") void fields_append(
    handle, const char *name, size, const char *value, size, answer *);
IMPORT(TYPES, "[constructor]outgoing-response") handle outgoing_response(handle headers);
IMPORT(TYPES, "[method]outgoing-response.body") void outgoing_response_body(handle, answer *);
IMPORT(TYPES, "[method]outgoing-body.write") void outgoing_body_write(handle, answer *);
IMPORT(TYPES, "[static]outgoing-body.finish") void outgoing_body_finish(handle, int some, handle trailers, void *);
IMPORT(TYPES, "[static]response-outparam.set") void response_outparam_set(
    handle, int failed, handle response, int, long long, int, int, int, int);
IMPORT(TYPES, "[resource-drop]incoming-request") void incoming_request_drop(handle);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush") void stream_write(
    handle, const char *, size, void *);
IMPORT(STREAMS, "[resource-drop]output-stream") void stream_drop(handle);

#define TEXT(literal) ((text){literal, sizeof(literal) - 1})

// What the host hands over lies here; it is given back as a whole, before the next request.
static char heap[1 << 16];
static size used;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size old_size, size alignment, size new_size) {
  size at = (used + alignment - 1) & ~(alignment - 1);
  if (old || old_size || at + new_size > sizeof heap) __builtin_trap();
  used = at + new_size;
  return heap + at;
}

static int same(text a, text b) {
  if (a.length != b.length) return 0;
  for (size i = 0; i < a.length; i++)
    if (a.at[i] != b.at[i]) return 0;
  return 1;
}

static text pod(void) {
  variables all;
  text found = TEXT("unknown");
  get_environment(&all);
  for (size i = 0; i < all.length; i++) {
    if (same(all.at[i].name, TEXT("POD_NAME"))) return all.at[i].value;
    if (same(all.at[i].name, TEXT("HOSTNAME"))) found = all.at[i].value;
  }
  return found;
}

EXPORT("wasi:http/incoming-handler@0.2.0#handle") void serve(handle request, handle out) {
  answer body, stream, ignored;
  _Alignas(8) char error[64];
  used = 0;
  incoming_request_drop(request);

  handle headers = fields();
  text name = TEXT("content-type"), value = TEXT("text/plain; charset=utf-8");
  fields_append(headers, name.at, name.length, value.at, value.length, &ignored);
  handle response = outgoing_response(headers);
  outgoing_response_body(response, &body);
  response_outparam_set(out, 0, response, 0, 0, 0, 0, 0, 0);

  outgoing_body_write(body.value, &stream);
  text words[] = {TEXT("hello in C from "), pod(), TEXT("\n")};
  for (size i = 0; i < 3; i++) stream_write(stream.value, words[i].at, words[i].length, error);
  stream_drop(stream.value);
  outgoing_body_finish(body.value, 0, 0, error);
}
