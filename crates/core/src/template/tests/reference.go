// Runs the templates of go.json with Go's own text/template and writes what came out beside them:
//
//	go run reference.go go.json
//
// An output of null stands for an error. Functions that Go does not have are made of its standard library here.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/template"
	"time"
)

const payload = `{"id":42,"price":12.5,"name":"Ann <a@b.c> & Co","empty":"","zero":0,"no":false,"yes":true,"nothing":null,
"user":{"first":"Ann","last":"Lee","tags":["x","y","z"]},"items":[{"sku":"A1","n":2},{"sku":"B2","n":1}],"list":[3,1,2],"none":[],
"unicode":"héllo wörld ✓","text":"  padded  ","csv":"a,b,,c","day":"2026-03-09","big":"a\"b\\c\nd\te"}`

type pair struct {
	Template string  `json:"t"`
	Output   *string `json:"o"`
}

func joined(sep string, list []any) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, sep)
}

func decoded(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}

func instead(def, val any) any {
	if truth, ok := template.IsTrue(val); val != nil && ok && truth {
		return val
	}
	return def
}

func marshalled(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

var funcs = template.FuncMap{
	"json":         marshalled,
	"urlencode":    url.QueryEscape,
	"base64":       func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64decode": decoded,
	"now":          func() time.Time { return time.Unix(1800000000, 123456000).UTC() },
	"formatTime":   func(layout string, t time.Time) string { return t.Format(layout) },
	"parseTime":    time.Parse,
	"upper":        strings.ToUpper,
	"lower":        strings.ToLower,
	"title":        strings.Title,
	"trim":         func(cutset, s string) string { return strings.Trim(s, cutset) },
	"trimSpace":    strings.TrimSpace,
	"split":        func(sep, s string) []string { return strings.Split(s, sep) },
	"join":         joined,
	"default":      instead,
	"contains":     func(sub, s string) bool { return strings.Contains(s, sub) },
	"hasPrefix":    func(prefix, s string) bool { return strings.HasPrefix(s, prefix) },
	"hasSuffix":    func(suffix, s string) bool { return strings.HasSuffix(s, suffix) },
	"replace":      func(old, new, s string) string { return strings.ReplaceAll(s, old, new) },
	"repeat":       func(n int, s string) string { return strings.Repeat(s, n) },
}

func render(text string, data any) *string {
	t, err := template.New("the whole").Funcs(funcs).Parse(text)
	if err != nil {
		return nil
	}
	var out bytes.Buffer
	if t.Execute(&out, data) != nil {
		return nil
	}
	s := out.String()
	return &s
}

func main() {
	file := os.Args[1]
	raw, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var pairs []pair
	if err := json.Unmarshal(raw, &pairs); err != nil {
		panic(err)
	}
	var body any
	if err := json.Unmarshal([]byte(payload), &body); err != nil {
		panic(err)
	}
	data := map[string]any{"event_id": "e-1", "event_name": "order.created", "timestamp": "2027-01-15T08:00:00Z", "attempt": 2, "payload": body}
	var out bytes.Buffer
	out.WriteString("[\n")
	for i := range pairs {
		pairs[i].Output = render(pairs[i].Template, data)
		var line bytes.Buffer
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(pairs[i]); err != nil {
			panic(err)
		}
		out.Write(bytes.TrimSpace(line.Bytes()))
		if i+1 < len(pairs) {
			out.WriteString(",")
		}
		out.WriteString("\n")
	}
	out.WriteString("]\n")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		panic(err)
	}
}
