package raw

import (
	"path"
	"strings"
)

const octets = "application/octet-stream"

// byExtension guesses a media type from a name. The table is our own: what
// package mime knows depends on the files of the machine that it runs on.
func byExtension(name string) string {
	if t, ok := extensions[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return octets
}

var extensions = map[string]string{
	// Text.
	".asc": "text/plain; charset=utf-8", ".cfg": "text/plain; charset=utf-8", ".conf": "text/plain; charset=utf-8",
	".css": "text/css; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".htm": "text/html; charset=utf-8",
	".html": "text/html; charset=utf-8", ".ics": "text/calendar; charset=utf-8", ".ini": "text/plain; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".log": "text/plain; charset=utf-8", ".md": "text/markdown; charset=utf-8",
	".mjs": "text/javascript; charset=utf-8", ".properties": "text/plain; charset=utf-8", ".tsv": "text/tab-separated-values; charset=utf-8",
	".txt": "text/plain; charset=utf-8", ".xml": "text/xml; charset=utf-8", ".yaml": "application/yaml", ".yml": "application/yaml",
	".sha1": "text/plain; charset=utf-8", ".sha256": "text/plain; charset=utf-8", ".sha512": "text/plain; charset=utf-8",
	".md5": "text/plain; charset=utf-8", ".blake3": "text/plain; charset=utf-8",
	".json": "application/json", ".jsonl": "application/jsonl", ".ndjson": "application/x-ndjson", ".toml": "application/toml",
	".sh": "application/x-sh", ".sql": "application/sql", ".rtf": "application/rtf",

	// Archives and packages.
	".7z": "application/x-7z-compressed", ".apk": "application/vnd.android.package-archive", ".bz2": "application/x-bzip2",
	".cab": "application/vnd.ms-cab-compressed", ".cpio": "application/x-cpio", ".crate": "application/gzip",
	".deb": "application/vnd.debian.binary-package", ".dmg": "application/x-apple-diskimage", ".ear": "application/java-archive",
	".exe": "application/vnd.microsoft.portable-executable", ".gz": "application/gzip", ".iso": "application/x-iso9660-image",
	".jar": "application/java-archive", ".lz4": "application/x-lz4", ".lzma": "application/x-lzma", ".msi": "application/x-msi",
	".nupkg": "application/zip", ".rar": "application/vnd.rar", ".rpm": "application/x-rpm", ".tar": "application/x-tar",
	".tgz": "application/gzip", ".txz": "application/x-xz", ".war": "application/java-archive", ".wasm": "application/wasm",
	".whl": "application/zip", ".xz": "application/x-xz", ".zip": "application/zip", ".zst": "application/zstd",

	// Documents.
	".doc": "application/msword", ".epub": "application/epub+zip", ".pdf": "application/pdf", ".ps": "application/postscript",
	".odp": "application/vnd.oasis.opendocument.presentation", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
	".odt": "application/vnd.oasis.opendocument.text", ".ppt": "application/vnd.ms-powerpoint", ".xls": "application/vnd.ms-excel",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",

	// Pictures, sound, fonts.
	".avif": "image/avif", ".bmp": "image/bmp", ".gif": "image/gif", ".ico": "image/vnd.microsoft.icon", ".jpeg": "image/jpeg",
	".jpg": "image/jpeg", ".png": "image/png", ".svg": "image/svg+xml", ".tif": "image/tiff", ".tiff": "image/tiff",
	".webp": "image/webp", ".aac": "audio/aac", ".flac": "audio/flac", ".m4a": "audio/mp4", ".mp3": "audio/mpeg",
	".oga": "audio/ogg", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav", ".avi": "video/x-msvideo",
	".mkv": "video/matroska", ".mov": "video/quicktime", ".mp4": "video/mp4", ".mpeg": "video/mpeg", ".ogv": "video/ogg",
	".webm": "video/webm", ".otf": "font/otf", ".ttf": "font/ttf", ".woff": "font/woff", ".woff2": "font/woff2",

	// Certificates and keys.
	".cer": "application/pkix-cert", ".crl": "application/pkix-crl", ".crt": "application/x-x509-ca-cert", ".der": "application/x-x509-ca-cert",
	".gpg": "application/pgp-keys", ".pem": "application/x-pem-file", ".p12": "application/x-pkcs12", ".pfx": "application/x-pkcs12",
	".sig": "application/pgp-signature",
}
