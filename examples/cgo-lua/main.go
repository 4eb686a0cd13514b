// Runs a Lua script of some hundred lines in the Lua C library; the script calls Go functions.
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"pielink.example/cgo-lua/lua"
)

//go:embed script.lua
var script string

func main() {
	state := lua.New()
	defer state.Close()
	state.Register("go_sort", func(arguments []string) (string, error) {
		sort.Strings(arguments)
		return strings.Join(arguments, " "), nil
	})
	state.Register("go_fail", func(arguments []string) (string, error) {
		return "", errors.New("go says no to " + strings.Join(arguments, ", "))
	})
	directory, err := os.MkdirTemp("", "cgo-lua")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer os.RemoveAll(directory)
	state.Register("go_temporary", func(arguments []string) (string, error) {
		return filepath.Join(directory, arguments[0]), nil
	})
	if err := state.Run(script, "=script"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	err = state.Run("local function deep(n) if n == 0 then error('too deep') end deep(n - 1) end\ndeep(3)\n", "=broken")
	first, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Println("an error of Lua, in Go:", first)
	fmt.Println("a syntax error:", state.Run("x = = 1", "=typo"))
}
