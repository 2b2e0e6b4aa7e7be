/* libFuzzer's hooks: start Python, import the harness (-DHARNESS), and give each input to it without the GIL. */
#include <Python.h>

#include "fuzz_lines.h"

__attribute__((section("__libfuzzer_extra_counters"), visibility("default"))) uint8_t fuzz_lines[8192];

static int (*run_input)(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    PyObject *module, *entry = NULL;
    (void)argc, (void)argv;
    Py_InitializeEx(0);                 /* Ctrl-C stays libFuzzer's */
    module = PyImport_ImportModule(HARNESS);
    if (module != NULL)
        entry = PyObject_GetAttrString(module, "ENTRY");
    if (entry == NULL) {
        PyErr_Print();
        exit(1);
    }
    run_input = (int (*)(const uint8_t *, size_t))PyLong_AsVoidPtr(entry);
    PyEval_SaveThread();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return run_input(data, size); }
