package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
)

// prefix is what the names of most settings begin with.
const prefix = "POSTHORN_"

// UnknownVariable is a variable of the environment that looks like a setting and is none. Meant is the setting that was probably
// meant, or empty. Its value may be a secret, and is not here.
type UnknownVariable struct{ Name, Meant string }

// String is a sentence.
func (u UnknownVariable) String() string {
	if u.Meant == "" {
		return u.Name + " is not a setting"
	}
	return u.Name + " is not a setting; did you mean " + u.Meant + "?"
}

// Unknown are the environment's variables that begin as settings do and are none, by name: misspelt ones would be ignored in silence.
func Unknown() []UnknownVariable { return unknown(os.Environ()) }

func unknown(environ []string) []UnknownVariable {
	known := []string{"POSTHORN_URL"} // the commands' that talk to a server
	for f := range reflect.TypeFor[Settings]().Fields() {
		known = append(known, f.Tag.Get("env"))
	}
	var names []string
	for _, line := range environ {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var found []UnknownVariable
	for _, name := range names {
		if !slices.Contains(known, name) && !ofKubernetes(name, names) {
			found = append(found, UnknownVariable{name, meant(name, known)})
		}
	}
	return found
}

// ofKubernetes says that Kubernetes made a variable: it tells containers of each service by X_SERVICE_HOST, X_SERVICE_PORT, X_PORT
// and more, where X may well be POSTHORN or POSTHORN_API.
func ofKubernetes(name string, names []string) bool {
	return slices.ContainsFunc(names, func(other string) bool {
		service, ok := strings.CutSuffix(other, "_SERVICE_HOST")
		return ok && (strings.HasPrefix(name, service+"_SERVICE_") || strings.HasPrefix(name, service+"_PORT"))
	})
}

// meant is the setting with the nearest name, if one is near: a third of the letters may be wrong.
func meant(name string, known []string) string {
	name = strings.TrimPrefix(name, prefix)
	if slices.Contains(known, name) {
		return name // DATABASE_URL and others have no prefix
	}
	nearest, least := "", len(name)/3+1
	for _, k := range known {
		if d := distance(name, strings.TrimPrefix(k, prefix)); d < least {
			nearest, least = k, d
		}
	}
	return nearest
}

// distance is how many letters have to be put in, taken out or exchanged to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
