package config

import "testing"

func TestListenIsOneRepositorys(t *testing.T) {
	for _, tt := range []struct {
		is, other string
		clash     bool
	}{
		{"5000", "5000", true},
		{"5000", ":5000", true},
		{":5000", "10.0.0.1:5000", true},
		{"0.0.0.0:5000", "10.0.0.1:5000", true},
		{"[::]:5000", "5000", true},
		{"10.0.0.1:5000", "10.0.0.1:5000", true},
		{"[::1]:5000", "[0:0::1]:5000", true},
		{"10.0.0.1:5000", "10.0.0.2:5000", false},
		{"5000", "5001", false},
		{"5000", "", false},
		{"images.example.com", "Images.example.com", true},
		{"images.example.com", "other.example.com", false},
		{"images.example.com", "images.example.com:5000", false},
		{"images.example.com", "5000", false},
	} {
		k := scene()
		k.Repositories["d1"].Listen = tt.other
		r := &Repository{ID: "r", Name: "mine", Store: "s", Shards: 4, Type: Hosted, Format: "docker", Listen: tt.is}
		field := ""
		if tt.clash {
			field = "listen"
		}
		t.Run(tt.is+" "+tt.other, func(t *testing.T) {
			wantField(t, r.Validate(k), field, false)
			k.Repositories["r"] = r // it is no other
			k.Repositories["d1"].Listen = ""
			wantField(t, r.Validate(k), "", false)
		})
	}
}
