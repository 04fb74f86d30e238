package yum

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"granary/digest"
)

// databaseVersion is that of the tables, which yum 3 reads.
const databaseVersion = "10"

const depColumns = " (name TEXT, flags TEXT, epoch TEXT, version TEXT, release TEXT, pkgKey INTEGER"

// The tables of the three databases, as createrepo_c makes them.
var schemas = map[string]string{
	"primary": `CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT, name TEXT, arch TEXT, version TEXT, epoch TEXT, release TEXT,
 summary TEXT, description TEXT, url TEXT, time_file INTEGER, time_build INTEGER, rpm_license TEXT, rpm_vendor TEXT, rpm_group TEXT,
 rpm_buildhost TEXT, rpm_sourcerpm TEXT, rpm_header_start INTEGER, rpm_header_end INTEGER, rpm_packager TEXT, size_package INTEGER,
 size_installed INTEGER, size_archive INTEGER, location_href TEXT, location_base TEXT, checksum_type TEXT);
CREATE TABLE files (name TEXT, type TEXT, pkgKey INTEGER);
CREATE TABLE requires` + depColumns + `, pre BOOLEAN DEFAULT FALSE);
CREATE TABLE provides` + depColumns + `);
CREATE TABLE conflicts` + depColumns + `);
CREATE TABLE obsoletes` + depColumns + `);
CREATE TABLE suggests` + depColumns + `);
CREATE TABLE enhances` + depColumns + `);
CREATE TABLE recommends` + depColumns + `);
CREATE TABLE supplements` + depColumns + `);`,
	"filelists": `CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT);
CREATE TABLE filelist (pkgKey INTEGER, dirname TEXT, filenames TEXT, filetypes TEXT);`,
	"other": `CREATE TABLE packages (pkgKey INTEGER PRIMARY KEY, pkgId TEXT);
CREATE TABLE changelog (pkgKey INTEGER, author TEXT, date INTEGER, changelog TEXT);`,
}

// Their indexes, made when the rows are there.
var indexes = map[string]string{
	"primary": `CREATE INDEX packagename ON packages (name);
CREATE INDEX packageId ON packages (pkgId);
CREATE INDEX filenames ON files (name);
CREATE INDEX pkgfiles ON files (pkgKey);
CREATE INDEX pkgrequires ON requires (pkgKey);
CREATE INDEX requiresname ON requires (name);
CREATE INDEX pkgprovides ON provides (pkgKey);
CREATE INDEX providesname ON provides (name);
CREATE INDEX pkgconflicts ON conflicts (pkgKey);
CREATE INDEX pkgobsoletes ON obsoletes (pkgKey);
CREATE INDEX pkgsuggests ON suggests (pkgKey);
CREATE INDEX pkgenhances ON enhances (pkgKey);
CREATE INDEX pkgrecommends ON recommends (pkgKey);
CREATE INDEX pkgsupplements ON supplements (pkgKey);`,
	"filelists": `CREATE INDEX keyfile ON filelist (pkgKey);
CREATE INDEX pkgId ON packages (pkgId);
CREATE INDEX dirnames ON filelist (dirname);`,
	"other": `CREATE INDEX keychange ON changelog (pkgKey);
CREATE INDEX pkgId ON packages (pkgId);`,
}

// database writes the SQLite form of a document that was written and collected:
// it is made in memory, as SQLite can't be written as a stream.
func (m *metadata) database(ctx context.Context, kind string, from *collected, xml data) error {
	r, err := from.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	frame := frames[kind]
	text := io.MultiReader(strings.NewReader(fmt.Sprintf(frame[0], m.packages)), r, strings.NewReader(frame[1]))
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	defer db.Close() //nolint:errcheck // nothing of it is left
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	defer conn.Close() //nolint:errcheck // likewise
	if err := fillDatabase(ctx, conn, kind, newElements(&opened{Reader: text, name: kind}), xml.doc.Sums().Hex(digest.SHA256)); err != nil {
		return fmt.Errorf("make the %s database: %w", kind, err)
	}
	bytesOf, err := serialize(conn)
	if err != nil {
		return err
	}
	return m.compressed(kind+"_db", kind+".sqlite", func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(bytesOf))
		return err
	})
}

func serialize(conn *sql.Conn) (out []byte, err error) {
	err = conn.Raw(func(c any) error {
		s, ok := c.(interface{ Serialize() ([]byte, error) })
		if !ok {
			return fmt.Errorf("read a database: %T: %w", c, errors.ErrUnsupported)
		}
		out, err = s.Serialize()
		return err
	})
	return out, err
}

func fillDatabase(ctx context.Context, conn *sql.Conn, kind string, from *elements, checksum string) error {
	script := "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY; CREATE TABLE db_info (dbversion INTEGER, checksum TEXT);" + schemas[kind]
	if _, err := conn.ExecContext(ctx, script); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "INSERT INTO db_info VALUES (?, ?)", databaseVersion, checksum); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	rows := &rows{ctx: ctx, tx: tx, statements: map[string]*sql.Stmt{}}
	defer rows.close()
	for {
		err := rows.next(kind, from)
		if err == io.EOF { //nolint:errorlint // plain by contract
			break
		}
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, indexes[kind])
	return err
}

// rows inserts packages, numbered in their order.
type rows struct {
	ctx        context.Context //nolint:containedctx // one rendering
	tx         *sql.Tx
	statements map[string]*sql.Stmt
	key        int64
}

func (r *rows) close() {
	for _, s := range r.statements {
		s.Close() //nolint:errcheck // nothing is left of it
	}
}

func (r *rows) insert(table string, values ...any) error {
	s := r.statements[table]
	if s == nil {
		var err error
		s, err = r.tx.PrepareContext(r.ctx, "INSERT INTO "+table+" VALUES (?"+strings.Repeat(", ?", len(values)-1)+")")
		if err != nil {
			return err
		}
		r.statements[table] = s
	}
	_, err := s.ExecContext(r.ctx, values...)
	return err
}

func (r *rows) next(kind string, from *elements) error {
	r.key++
	switch kind {
	case "filelists":
		var x xmlFiles
		if err := from.next(&x); err != nil {
			return err
		}
		return r.files(x)
	case "other":
		var x xmlChanges
		if err := from.next(&x); err != nil {
			return err
		}
		return r.changes(x)
	}
	var x xmlPackage
	if err := from.next(&x); err != nil {
		return err
	}
	return r.primary(&x)
}

func (r *rows) primary(x *xmlPackage) error {
	p := x.pkg(xmlFiles{}, xmlChanges{})
	err := r.insert("packages", r.key, x.Checksum.Value, p.name, p.arch, p.evr.version, p.evr.epoch, p.evr.release, orNull(p.summary), orNull(p.description),
		orNull(p.url), int64(p.changed&maxInt64), int64(p.built&maxInt64), orNull(p.license), orNull(p.vendor), orNull(p.group), orNull(p.buildHost), orNull(p.sourceRPM), p.headerStart, p.headerEnd, //nolint:gosec // masked
		orNull(p.packager), x.Size.Package, int64(p.installed&maxInt64), int64(p.archive&maxInt64), x.Location.Href, nil, x.Checksum.Type) //nolint:gosec // masked
	if err != nil {
		return err
	}
	for _, f := range p.files {
		if err := r.insert("files", f.path, kindOf(f), r.key); err != nil {
			return err
		}
	}
	for _, list := range p.dependencies() {
		for _, d := range *list.deps {
			values := []any{d.name, orNull(d.flags), orNull(d.evr.epoch), orNull(d.evr.version), orNull(d.evr.release), r.key}
			if list.element == "requires" {
				values = append(values, map[bool]string{true: "TRUE", false: "FALSE"}[d.pre])
			}
			if err := r.insert(list.element, values...); err != nil {
				return err
			}
		}
	}
	return nil
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func kindOf(f file) string {
	if f.kind == "" {
		return "file"
	}
	return f.kind
}

// files inserts a row for each directory: its names with slashes between them,
// and a letter for the kind of each.
func (r *rows) files(x xmlFiles) error {
	if err := r.insert("packages", r.key, x.ID); err != nil {
		return err
	}
	type listed struct{ names, kinds []string }
	var order []string
	dirs := map[string]*listed{}
	for _, f := range x.Files {
		dir, name := path.Split(f.Path)
		switch {
		case dir == "":
			dir = "." // of source packages
		case dir != "/":
			dir = strings.TrimSuffix(dir, "/")
		}
		if dirs[dir] == nil {
			dirs[dir] = &listed{}
			order = append(order, dir)
		}
		d := dirs[dir]
		d.names = append(d.names, name)
		d.kinds = append(d.kinds, kindOf(file{kind: f.Type})[:1])
	}
	for _, dir := range order {
		d := dirs[dir]
		if err := r.insert("filelist", r.key, dir, strings.Join(d.names, "/"), strings.Join(d.kinds, "")); err != nil {
			return err
		}
	}
	return nil
}

func (r *rows) changes(x xmlChanges) error {
	if err := r.insert("packages", r.key, x.ID); err != nil {
		return err
	}
	for _, c := range x.Changes {
		if err := r.insert("changelog", r.key, c.Author, int64(number(c.Date)&maxInt64), c.Text); err != nil { //nolint:gosec // masked
			return err
		}
	}
	return nil
}
