// Compresses and restores megabytes with the zstd C library, in one piece and as a stream.
package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"

	"pielink.example/cgo-zstd/zstd"
)

// text returns size bytes that compress about as well as prose: words drawn from a small
// vocabulary by a fixed generator, so that every run makes the same.
func text(size int) []byte {
	words := make([]string, 600)
	state := uint64(88172645463325252)
	next := func() uint64 {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		return state
	}
	for i := range words {
		word := make([]byte, 2+next()%9)
		for j := range word {
			word[j] = "etaoinshrdlucmfwypvbgkjqxz"[next()%(3+next()%24)]
		}
		words[i] = string(word)
	}
	var out bytes.Buffer
	for out.Len() < size {
		out.WriteString(words[next()%(1+next()%uint64(len(words)))])
		if next()%12 == 0 {
			fmt.Fprintf(&out, ", %d\n", next()%10000)
		} else {
			out.WriteByte(' ')
		}
	}
	return out.Bytes()[:size]
}

func run() error {
	fmt.Println("zstd", zstd.Version())
	data := text(3 << 20)
	fmt.Printf("%d bytes, crc32 %08x\n", len(data), crc32.ChecksumIEEE(data))
	for _, level := range []int{1, 3, 7} {
		frame, err := zstd.Compress(data, level)
		if err != nil {
			return err
		}
		restored, err := zstd.Decompress(frame)
		if err != nil {
			return err
		}
		if !bytes.Equal(restored, data) {
			return fmt.Errorf("level %d does not restore what it was given", level)
		}
		fmt.Printf("level %d: %d bytes, crc32 %08x, restored\n",
			level, len(frame), crc32.ChecksumIEEE(frame))
	}
	small := data[:256<<10]
	frame, err := zstd.Compress(small, 19)
	if err != nil {
		return err
	}
	sum, pieces := crc32.NewIEEE(), 0
	err = zstd.Stream(frame, 10000, func(piece []byte) { sum.Write(piece); pieces++ })
	if err != nil {
		return err
	}
	fmt.Printf("level 19: %d bytes, streamed in %d pieces, crc32 %08x, as before: %v\n",
		len(frame), pieces, sum.Sum32(), sum.Sum32() == crc32.ChecksumIEEE(small))
	frame[len(frame)/2] ^= 0x40
	_, err = zstd.Decompress(frame)
	fmt.Println("damaged:", err != nil)
	_, err = zstd.Decompress(frame[:100])
	fmt.Println("cut off:", err)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
