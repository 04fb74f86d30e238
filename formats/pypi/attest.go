package pypi

import (
	"encoding/json"
	"strings"

	"granary/digest"
	"granary/formats"
)

// attestation is what is looked at of one (PEP 740): the statement that is
// signed in it.
type attestation struct {
	Version      int             `json:"version"`
	Verification json.RawMessage `json:"verification_material"`
	Envelope     struct {
		Statement []byte `json:"statement"`
		Signature []byte `json:"signature"`
	} `json:"envelope"`
}

// statement is an in-toto statement.
type statement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string `json:"predicateType"`
}

// bundle and provenanceFile are what the integrity API serves.
type bundle struct {
	Publisher    publisher         `json:"publisher"`
	Attestations []json.RawMessage `json:"attestations"`
}

type publisher struct {
	Kind string `json:"kind"`
}

type provenanceFile struct {
	Version int      `json:"version"`
	Bundles []bundle `json:"attestation_bundles"`
}

// maxAttested is how many attestations a file may have.
const maxAttested = 16

// provenance makes the provenance file from the attestations that came with the
// upload, nil if there were none. Who uploaded is not known to be a publisher of
// the kinds that the public index names.
func (s *submission) provenance(d distribution) ([]byte, error) {
	if len(s.attestations) == 0 {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(s.attestations, &list); err != nil {
		return nil, formats.BadRequest("attestations are no JSON array")
	}
	if len(list) == 0 {
		return nil, nil
	}
	if len(list) > maxAttested {
		return nil, formats.BadRequest("%d attestations, at most %d are possible", len(list), maxAttested)
	}
	for _, raw := range list {
		if err := s.attested(d, raw); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(provenanceFile{Version: 1, Bundles: []bundle{{publisher{"granary"}, list}}})
	if err != nil {
		return nil, formats.BadRequest("attestations: %v", err)
	}
	return data, nil
}

// attested checks that an attestation is about the file that was sent.
func (s *submission) attested(d distribution, raw json.RawMessage) error {
	var a attestation
	if err := json.Unmarshal(raw, &a); err != nil || a.Version != 1 || len(a.Verification) == 0 || len(a.Envelope.Signature) == 0 {
		return formats.BadRequest("an attestation is none as PEP 740 defines it")
	}
	var st statement
	if err := json.Unmarshal(a.Envelope.Statement, &st); err != nil || !strings.HasPrefix(st.Type, "https://in-toto.io/Statement/") || st.PredicateType == "" {
		return formats.BadRequest("the statement of an attestation is none of in-toto")
	}
	sums := s.content.Sums()
	sum := sums.Hex(digest.SHA256)
	if len(st.Subject) != 1 || st.Subject[0].Name != d.file || !strings.EqualFold(st.Subject[0].Digest["sha256"], sum) {
		return formats.BadRequest("an attestation is not about %s with SHA-256 %s", d.file, sum)
	}
	return nil
}
