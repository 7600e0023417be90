package main

import (
	_ "embed"
	"net/http"
	"os"
)

//go:embed page.html
var page []byte

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write(page) })
	panic(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
