package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completion prints a shell's script, which asks the program itself what may come next: it never gets old.
type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

var completionScripts = map[string]string{
	"bash": `_posthorn() {
  local IFS=$'\n'
  COMPREPLY=($(posthorn __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _posthorn posthorn
`,
	"zsh": `#compdef posthorn
_posthorn() {
  local -a found
  found=("${(@f)$(posthorn __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n $found ]]; then compadd -- $found; else _files; fi
}
if [[ $funcstack[1] == _posthorn ]]; then _posthorn; else compdef _posthorn posthorn; fi
`,
	"fish": `complete -c posthorn -f -a '(posthorn __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null; or __fish_complete_path (commandline -ct))'
`,
}

// Run prints the script.
func (c completion) Run() error {
	_, err := fmt.Fprint(os.Stdout, completionScripts[c.Shell])
	return err
}

// candidates prints what may come in the place of the last word, one a line.
type candidates struct {
	Words []string `arg:"" optional:"" passthrough:"all"`
}

// Run answers a script. Status 1 says that nothing is known, so that the shell offers files.
func (c candidates) Run(ctx *kong.Context) error {
	found := complete(ctx.Model.Node, c.Words)
	for _, word := range found {
		fmt.Println(word)
	}
	if len(found) == 0 {
		os.Exit(1)
	}
	return nil
}

// complete walks down the commands and lists the words that may stand last.
func complete(root *kong.Node, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	node, last := root, words[len(words)-1]
	var waiting *kong.Flag // for its value
	for _, word := range words[:len(words)-1] {
		switch {
		case waiting != nil:
			waiting = nil
		case strings.HasPrefix(word, "-"):
			waiting = flagThatWaits(node, word)
		default:
			for _, child := range node.Children {
				if child.Name == word {
					node = child
				}
			}
		}
	}
	var list []string
	switch {
	case waiting != nil:
		list = waiting.EnumSlice()
	case strings.HasPrefix(last, "-"):
		list = flagsOf(node)
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				list = append(list, child.Name)
			}
		}
		for _, p := range node.Positional {
			list = append(list, p.EnumSlice()...)
		}
	}
	list = slices.DeleteFunc(list, func(word string) bool { return word == "" || !strings.HasPrefix(word, last) })
	slices.Sort(list)
	return list
}

// flagThatWaits is the flag whose value is the next word, or nil.
func flagThatWaits(node *kong.Node, word string) *kong.Flag {
	for n := node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if (word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)) && !f.IsBool() && !f.IsCounter() {
				return f
			}
		}
	}
	return nil
}

// flagsOf are the flags of a command: its own, and for those of a node the settings too.
func flagsOf(node *kong.Node) []string {
	list := []string{"--help"}
	for n := node; n != nil; n = n.Parent {
		if n.Parent == nil && ofAPI(node) {
			break
		}
		for _, f := range n.Flags {
			list = append(list, "--"+f.Name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
