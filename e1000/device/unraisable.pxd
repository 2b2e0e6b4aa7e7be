"""What Python code raised inside an access, which cannot raise: told to sys.unraisablehook, as CPython does it."""

from cpython.exc cimport PyErr_WriteUnraisable
from cpython.object cimport PyObject
from cpython.ref cimport Py_XINCREF

cdef extern from "Python.h":
    void PyErr_Restore(PyObject* type, PyObject* value, PyObject* traceback)    # takes a reference of each


cdef inline void unraisable(object error, object where):
    """Tell of `error`, raised in `where`."""
    cdef object kind = error.__class__, traceback = error.__traceback__
    cdef PyObject* place = NULL if traceback is None else <PyObject*>traceback
    Py_XINCREF(<PyObject*>kind)
    Py_XINCREF(<PyObject*>error)
    Py_XINCREF(place)
    PyErr_Restore(<PyObject*>kind, <PyObject*>error, place)
    PyErr_WriteUnraisable(where)
