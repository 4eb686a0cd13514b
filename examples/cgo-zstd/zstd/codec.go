// Package zstd compresses with the C library of that name, whose one source file is compiled
// into this package (examples/sources.py puts it here).
package zstd

/*
#cgo CFLAGS: -O2 -DZSTD_DISABLE_ASM=1
#cgo !darwin LDFLAGS: -lpthread
#include <stdlib.h>
#include "zstd.h"
*/
import "C"

import (
	"errors"
	"runtime"
	"unsafe"
)

// Version is the version of the C library.
func Version() string { return C.GoString(C.ZSTD_versionString()) }

func check(code C.size_t) error {
	if C.ZSTD_isError(code) != 0 {
		return errors.New("zstd: " + C.GoString(C.ZSTD_getErrorName(code)))
	}
	return nil
}

func start(data []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(data)) }

// Compress returns data as one frame, at a level from 1 to 22, with a checksum.
func Compress(data []byte, level int) ([]byte, error) {
	context := C.ZSTD_createCCtx()
	defer C.ZSTD_freeCCtx(context)
	for parameter, value := range map[C.ZSTD_cParameter]C.int{
		C.ZSTD_c_compressionLevel: C.int(level),
		C.ZSTD_c_checksumFlag:     1,
	} {
		if err := check(C.ZSTD_CCtx_setParameter(context, parameter, value)); err != nil {
			return nil, err
		}
	}
	out := make([]byte, C.ZSTD_compressBound(C.size_t(len(data))))
	size := C.ZSTD_compress2(context, start(out), C.size_t(len(out)), start(data), C.size_t(len(data)))
	if err := check(size); err != nil {
		return nil, err
	}
	return out[:size], nil
}

// Decompress returns what one frame holds; the frame says how much that is.
func Decompress(frame []byte) ([]byte, error) {
	size := C.ZSTD_getFrameContentSize(start(frame), C.size_t(len(frame)))
	if size >= C.ZSTD_CONTENTSIZE_ERROR-1 {
		return nil, errors.New("zstd: not a frame of known size")
	}
	out := make([]byte, size)
	got := C.ZSTD_decompress(start(out), C.size_t(size), start(frame), C.size_t(len(frame)))
	if err := check(got); err != nil {
		return nil, err
	}
	return out[:got], nil
}

// Stream decompresses a frame in pieces of at most step bytes, and gives each to yield.
func Stream(frame []byte, step int, yield func([]byte)) error {
	stream := C.ZSTD_createDStream()
	defer C.ZSTD_freeDStream(stream)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	buffer := make([]byte, step)
	pinner.Pin(unsafe.SliceData(buffer))
	pinner.Pin(unsafe.SliceData(frame))
	in := C.ZSTD_inBuffer{src: start(frame), size: C.size_t(len(frame))}
	for {
		out := C.ZSTD_outBuffer{dst: start(buffer), size: C.size_t(step)}
		left := C.ZSTD_decompressStream(stream, &out, &in)
		if err := check(left); err != nil {
			return err
		}
		yield(buffer[:out.pos])
		if left == 0 {
			return nil
		}
		if in.pos == in.size && out.pos < out.size {
			return errors.New("zstd: the frame is cut off")
		}
	}
}
