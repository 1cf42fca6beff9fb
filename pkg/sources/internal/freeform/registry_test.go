package freeform

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
)

// More images than any registry sends at once are one event of the repository.
func TestManyImages(t *testing.T) {
	t.Parallel()
	for sent, want := range map[int]int{1: 1, image.Most: image.Most, image.Most + 1: 1} {
		var list []string
		for i := range sent {
			list = append(list, fmt.Sprintf(`{"action":"push","target":{"repository":"team/app","tag":"%d","digest":"sha256:0"},"request":{"host":"registry.example"}}`, i))
		}
		r := &bellhop.Request{Header: http.Header{}, Body: []byte(`{"events":[` + strings.Join(list, ",") + `]}`)}
		r.Header.Set("Content-Type", "application/vnd.docker.distribution.events.v2+json")
		events, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != want {
			t.Fatalf("%d events of %d images, want %d", len(events), sent, want)
		}
		wantImage := bellhop.Image{Name: "registry.example/team/app", Tag: "0", Digest: "sha256:0"}
		if sent > image.Most {
			wantImage = bellhop.Image{Name: "registry.example/team/app"}
		}
		if e := events[0]; e.Kind != bellhop.KindImagePush || e.Image != wantImage {
			t.Errorf("of %d images: %s of %+v, want %+v", sent, e.Kind, e.Image, wantImage)
		}
	}
}
