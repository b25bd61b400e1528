package filter

import (
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// comparisons charges comparing objects and arrays by all that is in them. CEL itself counts the outermost members, so that
// a large payload compared with itself would cost as much as two numbers.
type comparisons struct{}

// CallCost is what a call has cost, or nil for CEL's own reckoning.
func (comparisons) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	var cost uint64
	switch function {
	case operators.Equals, operators.NotEquals:
		// A comparison ends with the smaller one.
		cost = 1 + lesser(args[0], args[1])
	case operators.In:
		if _, ok := args[1].(traits.Mapper); ok {
			return nil
		}
		cost = 1 + weight(args[1])
	default:
		return nil
	}
	return &cost
}

// most is the highest weight that matters.
const most = costLimit + 1

// weight is the cost of a look at every part of a value: one for each, and one for ten bytes of text.
func weight(value ref.Val) uint64 { return uint64(most - weigh(value, most)) }

// lesser is the smaller weight of two, found at about that cost: it is looked for within ever larger budgets.
func lesser(a, b ref.Val) uint64 {
	for budget := 16; budget < most; budget *= 4 {
		if left := max(weigh(a, budget), weigh(b, budget)); left > 0 {
			return uint64(budget - left)
		}
	}
	return min(weight(a), weight(b))
}

// weigh is what a value's weight leaves of a budget.
func weigh(value any, left int) int {
	if left <= 0 {
		return 0
	}
	left--
	switch v := value.(type) {
	case string:
		left -= len(v) / 10
	case []any:
		for _, part := range v {
			left = weigh(part, left)
		}
	case map[string]any:
		for _, part := range v {
			left = weigh(part, left)
		}
	case []ref.Val:
		for _, part := range v {
			left = weigh(part, left)
		}
	case map[ref.Val]ref.Val:
		for _, part := range v {
			left = weigh(part, left)
		}
	case ref.Val:
		left = weigh(v.Value(), left)
	}
	return max(0, left)
}
