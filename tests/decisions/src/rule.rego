# The rule of `most-advanced`, for a policy server: the same order, the same scores and the same words.
package grampus

missing_weight := 2

cordoned_cost := 1000

not_ready_cost := 1000000

answer := {"answer": "promote", "candidate": best.name, "reason": reason, "ranking": ranking} if {
	best := ranking[0]
	reason := concat("", [best.reason, equals])
}

answer := {"answer": "hold", "reason": "no member is eligible"} if count(ranking) == 0

# Equals are told apart by the number at the end of their names, the lowest first.
order := sort([[cost(candidate), candidate.ordinal, candidate.name, at] |
	some at, candidate in input.candidates
	count(candidate.ineligible) == 0
	not being_replaced(candidate)
])

ranking := [row |
	some place in order
	candidate := input.candidates[place[3]]
	row := {"name": candidate.name, "score": 0 - place[0], "reason": in_words(candidate)}
]

default equals := ""

equals := "; lowest ordinal among equals" if order[0][0] == order[1][0]

being_replaced(candidate) if {
	input.trigger == "switchover"
	input.formerPrimary == candidate.name
}

cost(candidate) := sum([
	candidate.missingTransactions * missing_weight,
	candidate.unappliedTransactions,
	cordoned(candidate),
	not_ready(candidate),
])

cordoned(candidate) := cordoned_cost if candidate.nodeCordoned else := 0

not_ready(candidate) := 0 if candidate.nodeReady else := not_ready_cost

in_words(candidate) := concat("; ", array.concat(
	[fetched(candidate.missingTransactions), sprintf("%d left to apply", [candidate.unappliedTransactions])],
	of_the_node(candidate),
))

fetched(0) := "has every transaction"

fetched(1) := "lacks 1 transaction"

fetched(missing) := sprintf("lacks %d transactions", [missing]) if missing > 1

of_the_node(candidate) := array.concat(
	[words | not candidate.nodeReady; words := "its node is not Ready"],
	[words | candidate.nodeCordoned; words := "its node is cordoned"],
)
