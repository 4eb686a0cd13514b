// Http serves pages on the loopback interface and fetches them in the same process.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
)

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", r.PathValue("name"))
	})
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		json.NewEncoder(w).Encode(map[string]int{"bytes": len(body)})
	})
	return mux
}

func show(response *http.Response, err error) string {
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintln(response.Status, strings.TrimSpace(string(body)))
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: handler()}
	go server.Serve(listener)
	base := "http://" + listener.Addr().String()

	fmt.Print(show(http.Get(base + "/hello/gopher")))
	fmt.Print(show(http.Get(base + "/nowhere")))
	text := strings.Repeat("a long body ", 10000)
	fmt.Print(show(http.Post(base+"/count", "text/plain", strings.NewReader(text))))

	answers := make([]string, 10)
	var clients sync.WaitGroup
	for i := range answers {
		clients.Go(func() { answers[i] = show(http.Get(fmt.Sprint(base, "/hello/", i))) })
	}
	clients.Wait()
	fmt.Print(strings.Join(answers, ""))
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}
}
