package admission

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// The review is of this version, which every Kubernetes since 1.16 speaks.
const (
	reviewVersion = "admission.k8s.io/v1"
	reviewKind    = "AdmissionReview"
)

// The kinds that are read.
const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// label marks what is Bellhop's configuration, with the value "true".
const label = "bellhop.dev/config"

// review is an AdmissionReview, of which Request comes in and Response goes out.
// https://kubernetes.io/docs/reference/config-api/apiserver-admission.v1/
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID  string `json:"uid"`
	Kind struct {
		Group   string `json:"group"`
		Version string `json:"version"`
		Kind    string `json:"kind"`
	} `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"` // empty where the API is to make one up
	Operation string         `json:"operation"`
	Object    jsontext.Value `json:"object"`
	OldObject jsontext.Value `json:"oldObject"`

	// object and old are the content of the two by key; nil object: there is nothing to validate. nil old: there
	// was none, or it was no Bellhop's.
	object, old map[string][]byte
}

type response struct {
	UID      string   `json:"uid"`
	Allowed  bool     `json:"allowed"`
	Status   *status  `json:"status,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// metadata is what all objects have.
type metadata struct {
	Metadata struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

// decode reads an AdmissionReview. Errors quote nothing of it: it may be a Secret's.
func decode(body []byte) (*request, error) {
	var r review
	switch err := json.Unmarshal(body, &r); {
	case err != nil:
		return nil, errors.New("the body is no AdmissionReview in JSON")
	case r.APIVersion != reviewVersion || r.Kind != reviewKind:
		return nil, fmt.Errorf("the body is no %s of %s: set admissionReviewVersions: [v1]", reviewKind, reviewVersion)
	case r.Request == nil || r.Request.UID == "":
		return nil, errors.New("the AdmissionReview has no request with a uid")
	}
	q := r.Request
	known := q.Kind.Group == "" && q.Kind.Version == "v1" && (q.Kind.Kind == kindConfigMap || q.Kind.Kind == kindSecret)
	if !known || q.Operation != "CREATE" && q.Operation != "UPDATE" {
		return q, nil
	}
	var err error
	if q.object, err = content(q.Kind.Kind, q.Object); err != nil {
		return nil, fmt.Errorf("the object is no %s", q.Kind.Kind)
	}
	if q.old, err = content(q.Kind.Kind, q.OldObject); err != nil {
		return nil, fmt.Errorf("the old object is no %s", q.Kind.Kind)
	}
	return q, nil
}

// content is an object's data by key, as its files would be; nil if there is no object or it is not labelled.
func content(kind string, object jsontext.Value) (map[string][]byte, error) {
	if len(object) == 0 || object.Kind() == 'n' {
		return nil, nil
	}
	var m metadata
	if err := json.Unmarshal(object, &m); err != nil {
		return nil, err
	}
	if m.Metadata.Labels[label] != "true" {
		return nil, nil
	}
	files := map[string][]byte{}
	if kind == kindSecret {
		// The API has put stringData into data by now.
		var o struct {
			Data map[string][]byte `json:"data"`
		}
		err := json.Unmarshal(object, &o)
		for key, value := range o.Data {
			files[key] = append([]byte{}, value...) // an empty file is one all the same
		}
		return files, err
	}
	var o struct {
		Data       map[string]string `json:"data"`
		BinaryData map[string][]byte `json:"binaryData"`
	}
	err := json.Unmarshal(object, &o)
	maps.Copy(files, o.BinaryData)
	for key, text := range o.Data {
		files[key] = []byte(text)
	}
	return files, err
}

// verdict is what is said about an object, in the order of the files. Without refusals it is allowed.
type verdict struct {
	refusals []string
	warnings []string
}

// Limits of what people are told at once. The API cuts a warning at 256 characters and all of them at 4,096.
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
const (
	maxRefusals    = 50
	maxWarnings    = 16
	maxWarningRune = 256
	maxRefusalRune = 1024
)

func (v verdict) review(uid string) review {
	answer := &response{UID: uid, Allowed: len(v.refusals) == 0}
	if !answer.Allowed {
		answer.Status = &status{
			Code: http.StatusUnprocessableEntity, Reason: "Invalid",
			Message: strings.Join(bounded(v.refusals, maxRefusals, maxRefusalRune), "\n"),
		}
	}
	answer.Warnings = bounded(v.warnings, maxWarnings, maxWarningRune)
	return review{APIVersion: reviewVersion, Kind: reviewKind, Response: answer}
}

// bounded are lines, cut to a length in characters, and to a number the last of which says how many are left out.
func bounded(lines []string, number, length int) []string {
	var out []string
	for i, line := range lines {
		if i == number-1 && len(lines) > number {
			return append(out, fmt.Sprintf("and %d more: run bellhop check to see all", len(lines)-i))
		}
		out = append(out, oneLine(line, length))
	}
	return out
}

// oneLine is text without control characters, which a header cannot carry, cut to a length in characters.
func oneLine(text string, length int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if utf8.RuneCountInString(text) <= length {
		return text
	}
	return string([]rune(text)[:length-1]) + "…"
}

// words are a problem's without the mark of a warning, which those who show it make themselves.
func words(p bellhop.Problem) string {
	p.Severity = bellhop.Fatal
	if p.File == "." {
		p.File = "" // it is about the object as a whole
	}
	return p.String()
}
