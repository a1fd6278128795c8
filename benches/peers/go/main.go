// What one would write in Go: a hub with a channel for each client, net/http for event streams, gorilla/websocket for WebSockets.
// A POST to /publish is an event for all clients.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

// Events that may wait for a client; with more, it is too slow, and loses its connection.
const waiting = 1024

type hub struct {
	sync.RWMutex
	clients map[chan []byte]struct{}
}

func (h *hub) join() chan []byte {
	client := make(chan []byte, waiting)
	h.Lock()
	h.clients[client] = struct{}{}
	h.Unlock()
	return client
}

func (h *hub) leave(client chan []byte) {
	h.Lock()
	if _, there := h.clients[client]; there {
		delete(h.clients, client)
		close(client)
	}
	h.Unlock()
}

func (h *hub) publish(w http.ResponseWriter, r *http.Request) {
	event, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var slow []chan []byte
	h.RLock()
	for client := range h.clients {
		select {
		case client <- event:
		default:
			slow = append(slow, client)
		}
	}
	h.RUnlock()
	for _, client := range slow {
		h.leave(client)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *hub) events(w http.ResponseWriter, r *http.Request) {
	flusher := w.(http.Flusher)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher.Flush()
	client := h.join()
	defer h.leave(client)
	for {
		select {
		case event, open := <-client:
			if !open {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", event)
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func (h *hub) socket(w http.ResponseWriter, r *http.Request) {
	connection, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	client := h.join()
	defer h.leave(client)
	// Pings, pongs and the close are handled while something reads.
	go func() {
		for {
			if _, _, err := connection.ReadMessage(); err != nil {
				h.leave(client)
				return
			}
		}
	}()
	for event := range client {
		if connection.WriteMessage(websocket.TextMessage, event) != nil {
			return
		}
	}
}

func main() {
	h := &hub{clients: map[chan []byte]struct{}{}}
	http.HandleFunc("POST /publish", h.publish)
	http.HandleFunc("GET /events", h.events)
	http.HandleFunc("GET /ws", h.socket)
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
