package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"granary/repo/config"
	"granary/repo/signing"
)

func ring(t *testing.T, keys ...config.SigningKey) *signing.Ring {
	t.Helper()
	r, err := signing.Open(&config.Signing{Keys: keys}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func generate(t *testing.T, a signing.Algorithm) config.SigningKey {
	t.Helper()
	k, err := signing.Generate("debs", a, time.Now().Add(-time.Minute).Truncate(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t *testing.T, r *signing.Ring) openpgp.EntityList {
	t.Helper()
	armored, err := r.Public(true)
	if err != nil {
		t.Fatal(err)
	}
	list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSign(t *testing.T) {
	old, now := generate(t, signing.Ed25519), generate(t, signing.Ed25519)
	r := ring(t, old, now)
	if got := r.Fingerprints(); len(got) != 2 || got[0] != now.Fingerprint || got[1] != old.Fingerprint {
		t.Errorf("Fingerprints = %v", got)
	}
	text := []byte("Origin: x\n- dash\n\ntrailing \n")
	clear, err := r.Clear(text)
	if err != nil {
		t.Fatal(err)
	}
	detached, err := r.Detached(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	// Whoever trusts only one of the two keys can verify.
	for _, k := range []config.SigningKey{old, now} {
		keyring := public(t, ring(t, k))
		block, rest := clearsign.Decode(clear)
		if block == nil || len(bytes.TrimSpace(rest)) > 0 {
			t.Fatalf("no cleartext signature, or more than one: %s", clear)
		}
		if _, err := block.VerifySignature(keyring, nil); err != nil {
			t.Errorf("clear, by %s: %v", k.Fingerprint, err)
		}
		if err := signing.VerifyDetached(keyring, text, detached, time.Now()); err != nil {
			t.Errorf("detached, by %s: %v", k.Fingerprint, err)
		}
		if err := signing.VerifyDetached(keyring, []byte("other"), detached, time.Now()); !errors.Is(err, signing.ErrSignature) {
			t.Errorf("a signature of other bytes is accepted: %v", err)
		}
	}
	// A client that reads the first block finds one signature in it, of the newest key.
	first, err := armor.Decode(bytes.NewReader(detached))
	if err != nil {
		t.Fatal(err)
	}
	packets := packet.NewReader(first.Body)
	if p, err := packets.Next(); err != nil || fmt.Sprintf("%X", p.(*packet.Signature).IssuerFingerprint) != now.Fingerprint {
		t.Errorf("the first signature is %v, %v", p, err)
	}
	if p, err := packets.Next(); err != io.EOF {
		t.Errorf("it is followed by %v, %v", p, err)
	}
	if list := public(t, r); len(list) != 2 {
		t.Errorf("%d public keys, want 2", len(list))
	}
}

// Several publications may need the keys at once.
func TestPublicAtOnce(t *testing.T) {
	r := ring(t, generate(t, signing.Ed25519))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { public(t, r) })
	}
	all.Wait()
}

// A key whose time is over signs no more, and without one nothing is signed.
func TestUntil(t *testing.T) {
	old, now := generate(t, signing.Ed25519), generate(t, signing.Ed25519)
	old.Until = time.Now().Add(-time.Second)
	if got := ring(t, old, now).Fingerprints(); len(got) != 1 || got[0] != now.Fingerprint {
		t.Errorf("Fingerprints = %v", got)
	}
	if _, err := signing.Open(&config.Signing{Keys: []config.SigningKey{old}}, time.Now); !errors.Is(err, signing.ErrKey) {
		t.Errorf("Open = %v, want ErrKey", err)
	}
	if _, err := signing.Open(&config.Signing{}, time.Now); !errors.Is(err, signing.ErrKey) {
		t.Errorf("Open without keys = %v, want ErrKey", err)
	}
}

func TestImport(t *testing.T) {
	k := generate(t, signing.Ed25519)
	armored, err := k.Private.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := signing.Import(armored, "", time.Now())
	if err != nil || again.Fingerprint != k.Fingerprint || again.Algorithm != "ed25519" {
		t.Errorf("Import = %s of %s, %v", again.Fingerprint, again.Algorithm, err)
	}
	armoredPublic, err := ring(t, k).Public(true)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "garbage": "hello", "public": string(armoredPublic), "long": strings.Repeat("x", signing.MaxImport+1),
		"two": armored + armored, "cut": armored[:len(armored)/2],
	} {
		if _, err := signing.Import(text, "", time.Now()); !errors.Is(err, signing.ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}

// An imported key is called after its algorithm as GnuPG calls it.
func TestImportedAlgorithms(t *testing.T) {
	for want, c := range map[string]packet.Config{
		"rsa2048":         {Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048},
		"ed25519":         {Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519},
		"ed448":           {Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve448},
		"nistp256":        {Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256},
		"nistp521":        {Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP521},
		"brainpoolP256r1": {Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveBrainpoolP256},
	} {
		e, err := openpgp.NewEntity("a", "", "", &c)
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		w, err := armor.Encode(&buf, openpgp.PrivateKeyType, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.SerializePrivate(w, nil), w.Close()); err != nil {
			t.Fatal(err)
		}
		if k, err := signing.Import(buf.String(), "", time.Now()); err != nil || k.Algorithm != want {
			t.Errorf("imported %q, %v, want %q", k.Algorithm, err, want)
		}
	}
}

func TestGenerateUnknown(t *testing.T) {
	if _, err := signing.Generate("x", "dsa", time.Now()); !errors.Is(err, signing.ErrKey) {
		t.Errorf("Generate = %v, want ErrKey", err)
	}
}

// What apt uses accepts both algorithms.
func TestGPGV(t *testing.T) {
	gpgv, err := exec.LookPath("gpgv")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("gpgv is missing")
		}
		t.Skip("gpgv is missing")
	}
	for _, a := range []signing.Algorithm{signing.Ed25519, signing.RSA4096} {
		r := ring(t, generate(t, a))
		dir := t.TempDir()
		binary, err := r.Public(false)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte("Suite: stable\n")
		clear, err := r.Clear(text)
		if err != nil {
			t.Fatal(err)
		}
		detached, err := r.Detached(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"key.gpg": binary, "InRelease": clear, "Release": text, "Release.gpg": detached} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"InRelease"}, {"Release.gpg", "Release"}} {
			cmd := exec.Command(gpgv, append([]string{"--keyring", filepath.Join(dir, "key.gpg")}, args...)...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: gpgv %v: %v\n%s", a, args, err, out)
			}
		}
	}
}
