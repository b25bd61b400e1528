// Package filter decides by an expression whether a subscription wants an event. Expressions are CEL (https://cel.dev) over
// three variables: type, the event's type; headers, its own headers with their names in lower case; and payload, its JSON.
// It owns the language: what is in it, what an expression and its evaluation may cost, and what an error says. Keeping
// compiled filters is left to who uses them, and what becomes of an event whose filter fails to internal/ingest.
package filter

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"

	"github.com/posthorn/posthorn"
)

const (
	// costLimit bounds one evaluation in CEL's units, of which a comparison takes a few and a look at ten bytes of text one:
	// a fraction of a second at the very worst, microseconds as a rule.
	costLimit = 50_000
	// maxNesting and maxNodes bound what an expression becomes, macros expanded.
	maxNesting = 50
	maxNodes   = 2000
)

// Filter is a compiled expression. It never changes and may be used by many at once.
type Filter struct{ program cel.Program }

// Compile reads an expression. The error's text says what is wrong and where, for who wrote it.
func Compile(expression string) (*Filter, error) {
	if n := len([]rune(expression)); n > posthorn.MaxFilter {
		return nil, fmt.Errorf("must be at most %d characters", posthorn.MaxFilter)
	}
	e, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := e.Compile(expression)
	if issues.Err() != nil {
		return nil, explain(issues)
	}
	if t := ast.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, fmt.Errorf("must be true or false, like payload.amount > 100; this is of the type %s", cel.FormatCELType(t))
	}
	program, err := e.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(comparisons{}), cel.CostLimit(costLimit))
	if err != nil {
		// A bad regular expression stands quoted at the end.
		why, _, _ := strings.Cut(err.Error(), ": `")
		return nil, errors.New("cannot be evaluated: " + why)
	}
	return &Filter{program}, nil
}

// Match reports whether the filter lets an event through. The error says why it cannot say: a field that is not there, a
// value of another type, a payload that is not JSON, or too much work.
func (f *Filter) Match(e *Event) (bool, error) {
	out, _, err := f.program.Eval(e)
	if err != nil {
		return false, errors.New(strings.TrimPrefix(err.Error(), "operation cancelled: "))
	}
	yes, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("must be true or false; this was of the type %s", out.Type().TypeName())
	}
	return yes, nil
}

// explain is the first fault of an expression; those after it are often its echo.
func explain(issues *cel.Issues) error {
	first := issues.Errors()[0]
	return fmt.Errorf("line %d, column %d: %s", max(1, first.Location.Line()), max(0, first.Location.Column())+1, withoutQuotes(first.Message))
}

// withoutQuotes is the library's message without what it quotes of the expression, which may be a secret: all that follows an
// open quotation mark, for one.
func withoutQuotes(message string) string {
	before, _, _ := strings.Cut(message, " expecting ")
	switch {
	case strings.HasSuffix(before, "'<EOF>'"):
		return "the expression ends too early"
	case strings.HasPrefix(message, "Syntax error: token recognition"):
		return "this is no word of CEL; a text may lack its closing quotation mark, and == compares"
	case strings.HasPrefix(message, "Syntax error"):
		return "this cannot stand here"
	case strings.HasPrefix(message, "undeclared reference"):
		return "this name is not known; there are type, headers, payload, and CEL's functions without those of time"
	}
	return message
}

// environment is the language, the same for all and never changed.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	e, err := cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(library())),
		cel.CrossTypeNumericComparisons(true),
		cel.Variable("type", cel.StringType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("payload", cel.DynType),
		cel.ParserExpressionSizeLimit(posthorn.MaxFilter),
		cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNodeLimit(maxNodes),
		cel.RegexProgramSizeLimit(1000),
	)
	if err != nil {
		return nil, fmt.Errorf("filter language: %w", err)
	}
	return e, nil
})

// library is CEL's standard one without what JSON has not: bytes, types as values, times and durations.
func library() *env.LibrarySubset {
	without := []string{
		"bytes", "type", "dyn", "timestamp", "duration", "uint", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
		"getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds",
	}
	subset := &env.LibrarySubset{}
	for _, name := range without {
		subset.ExcludeFunctions = append(subset.ExcludeFunctions, env.NewFunction(name))
	}
	return subset
}
