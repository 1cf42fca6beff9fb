package harbor

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) { bellhoptest.RunFixtures(t, Kind, "harbor/*", "") }

func FuzzVerify(f *testing.F) { bellhoptest.FuzzVerify(f, Kind) }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }

// More artifacts than Harbor sends at once are one event of the repository, whatever happened to them.
func TestManyArtifacts(t *testing.T) {
	t.Parallel()
	for eventType, title := range map[string]string{
		"PUSH_ARTIFACT": "team/app pushed", "DELETE_ARTIFACT": "team/app deleted", "PULL_ARTIFACT": "team/app pulled",
		"SCANNING_COMPLETED": "scan of team/app: 101 artifacts", "SCANNING_FAILED": "scan of team/app: failed",
		"UPLOAD_CHART": "chart team/app uploaded",
	} {
		for sent, want := range map[int]int{image.Most: image.Most, image.Most + 1: 1} {
			resource := `{"tag":"1.0","digest":"sha256:0","resource_url":"harbor.example/team/app:1.0"}`
			body := `{"type":"` + eventType + `","event_data":{"repository":{"repo_full_name":"team/app"},"resources":[` +
				strings.Repeat(resource+",", sent-1) + resource + `]}}`
			events, err := (&source{}).Parse(&bellhop.Request{Header: http.Header{}, Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			if len(events) != want {
				t.Fatalf("%s: %d events of %d artifacts, want %d", eventType, len(events), sent, want)
			}
			if want == 1 && events[0].Title != title {
				t.Errorf("%s: title %q, want %q", eventType, events[0].Title, title)
			}
		}
	}
}
