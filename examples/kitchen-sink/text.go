package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

//go:embed data
var files embed.FS

//go:embed data/poem.txt
var poem string

func embedded() {
	entries, err := files.ReadDir("data")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fmt.Print(e.Name(), " ")
	}
	fmt.Println(strings.Count(poem, "\n"), "lines")
	page := template.Must(template.ParseFS(files, "data/page.tmpl"))
	// A template calls methods by name: all exported methods of reachable types must stay.
	var filled strings.Builder
	err = page.Execute(&filled, map[string]any{
		"Shape": square{rectangle{1.5, 2}}, "Primes": initialized["primes"],
	})
	fmt.Print(filled.String())
	fmt.Println(err)
}

func text() {
	word := "Straße, 世界 ǅ"
	fmt.Println(strings.ToUpper(word), len(word), utf8.RuneCountInString(word))
	for _, r := range word[len(word)-2:] {
		fmt.Println(unicode.IsTitle(r), unicode.Is(unicode.Latin, r), string(unicode.ToLower(r)))
	}
	fmt.Println(regexp.MustCompile(`(\w+)@(\w+)\.com`).ReplaceAllString("bob@example.com", "$2:$1"))
	encoded, _ := json.Marshal(map[string]any{"shape": rectangle{1, 2}, "list": []int{1, 2}})
	var decoded struct{ Shape rectangle }
	fmt.Println(string(encoded), json.Unmarshal(encoded, &decoded), decoded)
	var squeezed bytes.Buffer
	zip := gzip.NewWriter(&squeezed)
	fmt.Fprint(zip, strings.Repeat(poem, 100))
	zip.Close()
	unzip, _ := gzip.NewReader(&squeezed)
	restored, err := io.ReadAll(unzip)
	fmt.Println(len(restored) == 100*len(poem), err)
}

func numbers() {
	fmt.Printf("%x\n", sha256.Sum256([]byte(poem)))
	factorial := big.NewInt(1)
	for n := int64(2); n <= 30; n++ {
		factorial.Mul(factorial, big.NewInt(n))
	}
	fmt.Println(factorial, math.Sqrt2, math.Inf(-1), bits.OnesCount(0xff0f))
	fmt.Println(strconv.ParseFloat("1e-7", 64))
	fmt.Println(strconv.Quote(fmt.Sprintf("%08.3f|%-5d|%+v", math.Pi, 42, point{1, 2})))
	fmt.Println(binary.BigEndian.AppendUint32(nil, 0xdeadbeef), complex(1, 2)*complex(0, 1))
}
