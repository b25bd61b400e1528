package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const bind = "ten_1/sub_1/secret"

func keysOf(t testing.TB, texts ...string) *Keys {
	t.Helper()
	keys, err := ParseKeys(strings.Join(texts, ","))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSealAndOpen(t *testing.T) {
	keys := keysOf(t, Generate())
	for _, size := range []int{0, 1, 16, 4096} {
		plaintext := bytes.Repeat([]byte{'x'}, size)
		sealed := keys.Seal(plaintext, bind)
		if len(sealed) != size+Overhead {
			t.Errorf("%d bytes sealed are %d, want %d more", size, len(sealed), Overhead)
		}
		if size > 8 && bytes.Contains(sealed, plaintext) {
			t.Error("the plaintext shows")
		}
		opened, err := keys.Open(sealed, bind)
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Errorf("Open = %q, %v", opened, err)
		}
		if bytes.Equal(sealed, keys.Seal(plaintext, bind)) {
			t.Error("sealed twice alike: the nonce repeats")
		}
	}
}

func TestRotation(t *testing.T) {
	first, second := Generate(), Generate()
	old, rotated, removed := keysOf(t, first), keysOf(t, second, first), keysOf(t, second)
	sealed := old.Seal([]byte("secret"), bind)

	if opened, err := rotated.Open(sealed, bind); err != nil || string(opened) != "secret" {
		t.Fatalf("the old key no longer opens: %q, %v", opened, err)
	}
	if old.NeedsReseal(sealed) || !rotated.NeedsReseal(sealed) {
		t.Errorf("NeedsReseal = %v before and %v after rotation, want false and true", old.NeedsReseal(sealed), rotated.NeedsReseal(sealed))
	}
	_, err := removed.Open(sealed, bind)
	if !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), "POSTHORN_ENCRYPTION_KEYS") || !strings.Contains(err.Error(), KeyID(sealed)) {
		t.Errorf("without the old key: %v; want the key's id and the setting named", err)
	}
	again := rotated.Seal([]byte("secret"), bind)
	if opened, err := removed.Open(again, bind); err != nil || string(opened) != "secret" || rotated.NeedsReseal(again) {
		t.Errorf("sealed anew: %q, %v", opened, err)
	}
	if ids := rotated.IDs(); len(ids) != 2 || ids[0] != KeyID(again) || ids[1] != KeyID(sealed) {
		t.Errorf("IDs = %v, want %s and %s", ids, KeyID(again), KeyID(sealed))
	}
}

func TestOpenRefuses(t *testing.T) {
	keys := keysOf(t, Generate(), Generate())
	sealed := keys.Seal([]byte("secret"), bind)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x80
		if opened, err := keys.Open(changed, bind); err == nil {
			t.Errorf("byte %d changed, and it opens as %q", i, opened)
		}
		if _, err := keys.Open(sealed[:i], bind); err == nil {
			t.Errorf("cut to %d bytes, and it opens", i)
		}
	}
	for _, other := range []string{"", "ten_1/sub_2/secret", bind + "x", bind[1:]} {
		if _, err := keys.Open(sealed, other); !errors.Is(err, ErrTampered) {
			t.Errorf("bound to %q: %v, want ErrTampered", other, err)
		}
	}
	for _, text := range []string{"", "x", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if _, err := keys.Open([]byte(text), bind); !errors.Is(err, ErrNotSealed) || KeyID([]byte(text)) != "" || !keys.NeedsReseal([]byte(text)) {
			t.Errorf("what was never sealed: %v, want ErrNotSealed", err)
		}
	}
	if _, err := keys.Open(append(sealed, 0), bind); !errors.Is(err, ErrTampered) {
		t.Errorf("a byte more: %v, want ErrTampered", err)
	}
}

func TestParseKeys(t *testing.T) {
	good := Generate()
	short := base64.StdEncoding.EncodeToString(make([]byte, 31))
	cases := map[string]struct {
		text string
		keys int
	}{
		"One":            {good, 1},
		"Two":            {good + "," + Generate(), 2},
		"Spaces":         {" " + good + " ,\n" + Generate() + "\n", 2},
		"Empty":          {"", 0},
		"Twice":          {good + "," + good, 0},
		"TrailingComma":  {good + ",", 0},
		"Short":          {short, 0},
		"SecondShort":    {good + "," + short, 0},
		"NotBase64":      {strings.Repeat("#", 44), 0},
		"Hex":            {strings.Repeat("ab", 32), 0},
		"URLSafe":        {strings.Repeat("-_", 21) + "-=", 0},
		"Unpadded":       {strings.TrimRight(good, "="), 0},
		"NonCanonical":   {strings.Repeat("A", 42) + "B=", 0},
		"WrongSeparator": {good + ";" + Generate(), 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseKeys(c.text)
			if c.keys == 0 {
				if err == nil || !strings.Contains(err.Error(), "key 1") && !strings.Contains(err.Error(), "key 2") {
					t.Fatalf("ParseKeys = %v, %v; want an error that names the place", keys, err)
				}
				if c.text != "" && strings.Contains(err.Error(), good) {
					t.Errorf("the error holds a key: %v", err)
				}
				return
			}
			if err != nil || len(keys.IDs()) != c.keys {
				t.Errorf("ParseKeys = %v, %v; want %d keys", keys, err, c.keys)
			}
		})
	}
}

func TestKeysAreMasked(t *testing.T) {
	text := Generate()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	keys := keysOf(t, text)
	type options struct{ keys *Keys }
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&printed, verb+" ", keys)
		fmt.Fprintf(&printed, verb+" ", options{keys})
		fmt.Fprintf(&printed, verb+" ", &options{keys})
	}
	encoded, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(encoded)
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("start", "keys", keys)
	out := strings.ToLower(printed.String())
	for _, leak := range []string{text, fmt.Sprintf("%x", raw[:8]), fmt.Sprintf("%d %d %d", raw[0], raw[1], raw[2])} {
		if strings.Contains(out, strings.ToLower(leak)) {
			t.Errorf("a key is printed as %s", leak)
		}
	}
	if !strings.Contains(out, keys.IDs()[0]) {
		t.Errorf("the key's id is not printed: %s", out)
	}
}

func FuzzOpen(f *testing.F) {
	keys := keysOf(f, Generate())
	f.Add(keys.Seal([]byte("secret"), bind))
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if opened, err := keys.Open(sealed, "another row"); err == nil {
			t.Fatalf("opened %q", opened)
		}
		keys.NeedsReseal(sealed)
	})
}
