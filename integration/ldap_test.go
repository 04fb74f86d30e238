package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"granary/integration/node"
	"granary/integration/port"
)

// slapd is Debian's OpenLDAP server with the people of testdata/directory.ldif.
type slapd struct {
	t          *testing.T
	dir        string
	port       int
	securePort int
	ca         string // PEM
	cmd        *exec.Cmd
}

const (
	slapdProgram = "/usr/sbin/slapd"
	slapdRoot    = "cn=root,dc=example,dc=com"
)

func startSlapd(t *testing.T) *slapd {
	t.Helper()
	if _, err := os.Stat(slapdProgram); err != nil {
		need(t, "slapd")
	}
	s := &slapd{t: t, dir: t.TempDir(), port: freeTCPPort(t), securePort: freeTCPPort(t)}
	s.certificate()
	conf := fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
database mdb
suffix "dc=example,dc=com"
rootdn "%[2]s"
rootpw root-secret
directory %[1]s/db
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=search,dc=example,dc=com" read by self read by anonymous auth by * none
`, s.dir, slapdRoot)
	s.write("slapd.conf", conf)
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), slapdProgram, "-T", "add", "-f", s.path("slapd.conf"), "-l", filepath.Join("testdata", "directory.ldif")).CombinedOutput()
	if err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *slapd) path(name string) string { return filepath.Join(s.dir, name) }

func (s *slapd) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *slapd) url() string    { return fmt.Sprintf("ldap://127.0.0.1:%d", s.port) }
func (s *slapd) secure() string { return fmt.Sprintf("ldaps://127.0.0.1:%d", s.securePort) }

func (s *slapd) start() {
	s.t.Helper()
	// With -d it stays in the foreground and is ours to end.
	s.cmd = exec.Command(slapdProgram, "-d", "0", "-f", s.path("slapd.conf"), "-h", s.url()+" "+s.secure())
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.securePort))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("slapd does not listen: %v", err)
		}
	}
}

func (s *slapd) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	s.cmd.Wait()         //nolint:errcheck // killed
	s.cmd = nil
}

// certificate makes one for 127.0.0.1 that is its own authority.
func (s *slapd) certificate() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.write("cert.pem", s.ca)
	s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// modify changes the members of a group.
func (s *slapd) modify(change func(*ldap.ModifyRequest), group string) {
	s.t.Helper()
	c, err := ldap.DialURL(s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(slapdRoot, "root-secret"); err != nil {
		s.t.Fatal(err)
	}
	m := ldap.NewModifyRequest("cn="+group+",ou=groups,dc=example,dc=com", nil)
	change(m)
	if err := c.Modify(m); err != nil {
		s.t.Fatal(err)
	}
}

func freeTCPPort(t *testing.T) int {
	t.Helper()
	p, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func basicPair(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// directorySettings is the body of PUT /api/v1/settings/ldap; more replaces
// fields.
func (s *slapd) settings(more map[string]any) string {
	body := map[string]any{
		"url": s.url(), "bind_dn": "cn=search,dc=example,dc=com", "bind_password": "search-secret",
		"user_base_dn": "ou=people,dc=example,dc=com", "group_base_dn": "ou=groups,dc=example,dc=com",
		"group_role_mapping": map[string]string{"Readers": "read-only", "cn=bosses,ou=groups,dc=example,dc=com": "admin"},
	}
	for k, v := range more {
		body[k] = v
	}
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

const jsonType = "application/json"

func (s *slapd) put(n *node.Node, more map[string]any) {
	s.t.Helper()
	body := n.Want(200, "PUT", "/api/v1/settings/ldap", strings.NewReader(s.settings(more)), "Content-Type", jsonType)
	if strings.Contains(string(body), "search-secret") {
		s.t.Errorf("the bind password is in the answer: %s", body)
	}
}

type ldapTest struct {
	OK     bool
	Error  string
	DN     string
	Groups []string
	Roles  []string
}

func testDirectory(t *testing.T, n *node.Node, body string) (a ldapTest) {
	t.Helper()
	if err := json.Unmarshal(n.Want(200, "POST", "/api/v1/settings/ldap/test", strings.NewReader(body), "Content-Type", jsonType), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// as returns the status of a request with a name and a password.
func as(t *testing.T, n *node.Node, name, password, path string) int {
	t.Helper()
	res, _ := n.Do(http.MethodGet, path, nil, "Authorization", basicPair(name, password))
	return res.StatusCode
}

func logIn(t *testing.T, n *node.Node, name, password string) (status int, token string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"username": name, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	// Without credentials of its own.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL+"/api/v1/auth/login", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", jsonType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Token string }
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode, answer.Token
}

func bearer(t *testing.T, n *node.Node, token, path string) int {
	t.Helper()
	res, _ := n.Do(http.MethodGet, path, nil, "Authorization", "Bearer "+token)
	return res.StatusCode
}

func TestLDAP(t *testing.T) {
	s := startSlapd(t)
	n := node.Start(t, node.Options{Env: []string{"GRANARY_SECRET_KEY=a key of sixteen bytes or more"}})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	if got := string(n.Want(200, "GET", "/api/v1/settings/ldap", nil)); strings.TrimSpace(got) != "null" {
		t.Errorf("settings before any: %s", got)
	}
	if a := testDirectory(t, n, `{}`); a.OK || a.Error == "" {
		t.Errorf("a test without settings: %+v", a)
	}
	s.put(n, nil)

	t.Run("log-in", func(t *testing.T) {
		for _, tt := range []struct {
			name, password string
			login          int
			files, users   int // for reading the repository, the users
		}{
			{"ann", "ann-secret", 200, 404, 403},
			{"ANN", "ann-secret", 200, 404, 403},
			{"bob", "bob-secret", 200, 404, 200}, // nested: bosses have ops as a member, ops have bob
			{"eve", "eve-secret", 200, 403, 403}, // no mapped group
			{"ann", "bob-secret", 401, 401, 401},
			{"ann", "", 401, 401, 401}, // would be an anonymous bind
			{"nobody", "x", 401, 401, 401},
			{"*", "ann-secret", 401, 401, 401},
			{"ann)(uid=*", "ann-secret", 401, 401, 401},
			{"*)(objectClass=*", "ann-secret", 401, 401, 401},
			{"ann\x00", "ann-secret", 401, 401, 401},
			{"a\\2a", "ann-secret", 401, 401, 401},
			{"uid=ann,ou=people,dc=example,dc=com", "ann-secret", 401, 401, 401},
			{"admin", "admin-of-directory", 401, 401, 401}, // built in: never looked up
			{"Admin", "admin-of-directory", 401, 401, 401},
			{"twin", "twin-secret", 401, 401, 401}, // two entries have the uid
		} {
			if status, _ := logIn(t, n, tt.name, tt.password); status != tt.login {
				t.Errorf("%q logs in: %d, want %d", tt.name, status, tt.login)
			}
			if got := as(t, n, tt.name, tt.password, "/repository/files/x"); got != tt.files {
				t.Errorf("%q reads a file: %d, want %d", tt.name, got, tt.files)
			}
			if got := as(t, n, tt.name, tt.password, "/api/v1/users"); got != tt.users {
				t.Errorf("%q lists users: %d, want %d", tt.name, got, tt.users)
			}
		}
		users := string(n.Want(200, "GET", "/api/v1/users", nil))
		if strings.Count(users, `"kind":"ldap"`) != 3 || strings.Contains(users, "ANN") {
			t.Errorf("users %s", users)
		}
	})

	t.Run("test button", func(t *testing.T) {
		if a := testDirectory(t, n, `{"username":"bob"}`); !a.OK || a.DN != "uid=bob,ou=people,dc=example,dc=com" || strings.Join(a.Groups, " ") != "bosses ops" || strings.Join(a.Roles, " ") != "admin" {
			t.Errorf("bob: %+v", a)
		}
		if a := testDirectory(t, n, `{"username":"bob","password":"wrong"}`); a.OK || !strings.Contains(a.Error, "password") {
			t.Errorf("a wrong password: %+v", a)
		}
		if a := testDirectory(t, n, `{}`); !a.OK {
			t.Errorf("connection: %+v", a)
		}
		s.put(n, map[string]any{"bind_password": "wrong"})
		if a := testDirectory(t, n, `{}`); a.OK || !strings.Contains(a.Error, "bind") {
			t.Errorf("a wrong bind password: %+v", a)
		}
		s.put(n, nil)
		s.put(n, map[string]any{"bind_password": "********"})
		if a := testDirectory(t, n, `{}`); !a.OK {
			t.Errorf("a bind password that was kept: %+v", a)
		}
	})

	t.Run("encrypted", func(t *testing.T) {
		for name, tt := range map[string]struct {
			change map[string]any
			ok     bool
		}{
			"LDAPS":                      {map[string]any{"url": s.secure(), "ca_cert": s.ca}, true},
			"STARTTLS":                   {map[string]any{"starttls": true, "ca_cert": s.ca}, true},
			"LDAPS, unknown authority":   {map[string]any{"url": s.secure()}, false},
			"STARTTLS, unknown":          {map[string]any{"starttls": true}, false},
			"STARTTLS, not verified":     {map[string]any{"starttls": true, "tls_skip_verify": true}, true},
			"LDAPS on the port of plain": {map[string]any{"url": strings.Replace(s.url(), "ldap:", "ldaps:", 1), "ca_cert": s.ca}, false},
		} {
			s.put(n, tt.change)
			if a := testDirectory(t, n, `{"username":"ann","password":"ann-secret"}`); a.OK != tt.ok {
				t.Errorf("%s: %+v", name, a)
			}
		}
		s.put(n, nil)
	})

	t.Run("groups are read at each log-in", func(t *testing.T) {
		_, token := logIn(t, n, "eve", "eve-secret")
		if got := bearer(t, n, token, "/repository/files/x"); got != 403 {
			t.Errorf("before: %d", got)
		}
		s.modify(func(m *ldap.ModifyRequest) { m.Add("member", []string{"uid=eve,ou=people,dc=example,dc=com"}) }, "readers")
		// A password that was verified within the minute is not asked about again.
		n.Want(204, "POST", "/api/v1/users/eve/revoke-tokens", nil)
		_, later := logIn(t, n, "eve", "eve-secret")
		if got := bearer(t, n, later, "/repository/files/x"); got != 404 {
			t.Errorf("after: %d", got)
		}
		if got := bearer(t, n, token, "/repository/files/x"); got != 401 {
			t.Errorf("the revoked session: %d", got)
		}
	})

	t.Run("unreachable", func(t *testing.T) {
		s.stop()
		begun := time.Now()
		if status, _ := logIn(t, n, "nobody2", "x"); status != 401 {
			t.Errorf("a user of the directory: %d", status)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("took %v", took)
		}
		n.Want(200, "GET", "/api/v1/users", nil) // the built-in administrator
		if a := testDirectory(t, n, `{}`); a.OK || a.Error == "" {
			t.Errorf("test button: %+v", a)
		}
		s.start()
		if status, _ := logIn(t, n, "ann", "ann-secret"); status != 200 {
			t.Errorf("when it is back: %d", status)
		}
	})

	t.Run("without fall-back", func(t *testing.T) {
		n.Want(201, "POST", "/api/v1/users", strings.NewReader(`{"username":"local","password":"local-secret","roles":["read-only"]}`), "Content-Type", jsonType)
		if got := as(t, n, "local", "local-secret", "/repository/files/x"); got != 404 {
			t.Errorf("with: %d", got)
		}
		s.put(n, map[string]any{"fallback_to_builtin": false})
		if got := as(t, n, "local", "local-secret", "/repository/files/x"); got != 401 {
			t.Errorf("without: %d", got)
		}
		n.Want(200, "GET", "/api/v1/users", nil)
		s.put(n, nil)
	})

	t.Run("removed", func(t *testing.T) {
		_, token := logIn(t, n, "ann", "ann-secret")
		if got := bearer(t, n, token, "/repository/files/x"); got != 404 {
			t.Errorf("before: %d", got)
		}
		n.Want(204, "DELETE", "/api/v1/settings/ldap", nil)
		if got := bearer(t, n, token, "/repository/files/x"); got != 401 {
			t.Errorf("a session afterwards: %d", got)
		}
		if status, _ := logIn(t, n, "ann", "ann-secret"); status != 401 {
			t.Errorf("log-in afterwards: %d", status)
		}
	})
}
