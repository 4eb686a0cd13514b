// An HTTP server and its clients in one process, over the loopback interface.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println("listen:", err)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		var numbers []int
		if err := json.NewDecoder(r.Body).Decode(&numbers); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		total := 0
		for _, n := range numbers {
			total += n
		}
		json.NewEncoder(w).Encode(map[string]int{"sum": total})
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("0123456789", 20_000))
	})
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	base := "http://" + listener.Addr().String()

	var clients sync.WaitGroup
	answers := make([]string, 6)
	for i := range answers {
		clients.Add(1)
		go func() {
			defer clients.Done()
			body := strings.NewReader(fmt.Sprintf("[%d, %d, 3]", i, i*10))
			response, err := http.Post(base+"/sum", "application/json", body)
			if err != nil {
				answers[i] = err.Error()
				return
			}
			defer response.Body.Close()
			data, _ := io.ReadAll(response.Body)
			answers[i] = response.Status + " " + strings.TrimSpace(string(data))
		}()
	}
	clients.Wait()
	for _, answer := range answers {
		fmt.Println(answer)
	}
	response, err := http.Get(base + "/large")
	if err != nil {
		fmt.Println("get:", err)
		os.Exit(1)
	}
	data, err := io.ReadAll(response.Body)
	fmt.Println("large", len(data), err)
	response, err = http.Post(base+"/sum", "application/json", strings.NewReader("no"))
	fmt.Println("bad", response.StatusCode, err)
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	fmt.Println("refused", err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Println("shutdown", server.Shutdown(ctx))
}
