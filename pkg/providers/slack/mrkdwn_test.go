package slack

import (
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

func TestMrkdwn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"white space", " \n\n ", ""},
		{"plain", "a & b < c > d", "a &amp; b &lt; c &gt; d"},
		{"bold and italic", "**b** __b__ *i* _i_ ***both***", "*b* *b* _i_ _i_ _*both*_"},
		{"bold in bold", "# a **b** c", "*a b c*"},
		{"struck", "~~gone~~", "~gone~"},
		{"underscores in words", "snake_case_name", "snake_case_name"},
		{"code", "`a < b`", "`a &lt; b`"},
		{"code block", "```go\nif a < b {\n}\n```\nafter", "```\nif a &lt; b {\n}\n```\n\nafter"},
		{"open code block", "```\nnever closed", "```\nnever closed\n```"},
		{"link", "[a](https://x.example/?a=1&b=2)", "<https://x.example/?a=1&amp;b=2|a>"},
		{"link with a title", `[a](https://x.example "t")`, "<https://x.example|a>"},
		{"link with markup", "[**a** `b`](https://x.example)", "<https://x.example|a b>"},
		{"image", "![alt](https://x.example/i.png)", "<https://x.example/i.png|alt>"},
		{"link that is none", "[click](javascript:alert)", "click"},
		{"link that breaks out", "[a>b|c](https://x.example/|y>z)", "<https://x.example/%7Cy%3Ez|a&gt;b|c>"},
		{"automatic link", "<https://x.example>", "<https://x.example>"},
		{"mention", "<!channel> <@U1>", "&lt;!channel&gt; &lt;@U1&gt;"},
		{"comment", "a <!-- no --> b\n\n<!-- no -->\n", "a  b"},
		{"entity", "&lt;b&gt; &copy; &#42;", "&lt;b&gt; © *"},
		{"backslash", `\*a\* \_b\_`, "*a* _b_"},
		{"list", "- a\n- b\n  - c\n\nafter", "• a\n• b\n    • c\n\nafter"},
		{"numbers", "3. a\n4. b", "3. a\n4. b"},
		{"quote", "> a\n> b\n\nafter", "> a\n> b\n\nafter"},
		{"paragraphs", "a\nb\n\nc", "a\nb\n\nc"},
		{"rule", "a\n\n---\n\nb", "a\n\n———\n\nb"},
		{"control characters", "a\x00b\x1b[1m", "ab[1m"},
		{"invalid", "a\xffb", "a\uFFFDb"},
	} {
		if got := mrkdwn.Message(tc.in, maxMessage); got != tc.want {
			t.Errorf("%s: %q became %q, want %q", tc.name, tc.in, got, tc.want)
		}
	}
}

func TestMrkdwnCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"12345678", 8, "12345678"},
		{"123456789", 8, "1234567…"},
		{"**12345678**", 10, "*12345678*"},
		{"**123456789**", 10, "*1234567…*"},
		{"**123456** 9", 10, "*123456* 9"},
		{"**123456** 90", 10, "*123456*…"},
		{"1234567 <>", 14, "1234567 &lt;…"},
		{"1234567 [a](https://x.example)", 14, "1234567…"},
		{"```\n12345678901234\n```", 20, "```\n12345678901…\n```"},
		{"💥💥💥💥💥", 8, "💥💥💥…"},
		{"12345e\u0301\u03016789", 8, "12345…"},
	} {
		got := mrkdwn.Message(tc.in, tc.limit)
		if got != tc.want || httpsend.UTF16.Len(got) > tc.limit {
			t.Errorf("%q at %d became %q of %d, want %q", tc.in, tc.limit, got, httpsend.UTF16.Len(got), tc.want)
		}
	}
}

func FuzzMrkdwn(f *testing.F) {
	for _, s := range []string{"**a** [b](https://c.example)", "> - ```\n", "1. a\n   > b", "&lt; \\* <!-- -->", "# *a", "\u200d\ufe0f", strings.Repeat("> ", 50) + "[[[["} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 10), maxMessage)
		got := mrkdwn.Message(s, limit)
		if n := httpsend.UTF16.Len(got); n > limit {
			t.Errorf("%q became %q of %d, over %d", s, got, n, limit)
		}
		for _, mention := range []string{"<!", "<@", "<#"} {
			if strings.Contains(got, mention) {
				t.Errorf("%q became %q, which mentions someone", s, got)
			}
		}
	})
}

// What is hard to parse must not keep a notifier busy.
func BenchmarkMrkdwn(b *testing.B) {
	for name, s := range map[string]string{
		"text": "fix **all** of `it`\n", "brackets": "[", "quotes": "> ", "emphasis": "*a **b ", "backticks": "`a``", "list": "- ",
	} {
		in := strings.Repeat(s, 1<<20/len(s))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				mrkdwn.Message(in, maxMessage)
			}
		})
	}
}
