// Leads where a label of the pod holds the largest number, e.g. on the server with the most memory.
//
// Equals are told apart by the work that is left before they can open, then by the number at the end of their names.
// A member without such a label counts as 0: this must never hold because a label is missing.

#include <stdlib.h>
#include <string.h>

#include "primary_selection.h"

typedef primary_selection_string_t string;
typedef exports_grampus_primary_selection_policy_description_t description;
typedef exports_grampus_primary_selection_policy_settings_error_t settings_error;
typedef exports_grampus_primary_selection_policy_question_t question;
typedef exports_grampus_primary_selection_policy_candidate_t candidate;
typedef exports_grampus_primary_selection_policy_ranked_t ranked;
typedef exports_grampus_primary_selection_policy_answer_t answer;

// ---------------------------------------------------------------- text

// Text that grows. What goes into an answer has to be allocated, because the bindings free it.
typedef struct {
    char *bytes;
    size_t length, room;
} text;

static void *allocated(void *memory) {
    // A trap is one failure of the module; the next in line decides.
    if (memory == NULL) abort();
    return memory;
}

static void add_bytes(text *to, const void *bytes, size_t length) {
    if (length == 0) return;
    if (to->room - to->length < length) {
        to->room = 2 * (to->length + length);
        to->bytes = allocated(realloc(to->bytes, to->room));
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void add(text *to, const char *words) { add_bytes(to, words, strlen(words)); }

static void add_string(text *to, string words) { add_bytes(to, words.ptr, words.len); }

static void add_number(text *to, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    add_bytes(to, digits + at, sizeof digits - at);
}

static string finished(text words) { return (string){(uint8_t *)words.bytes, words.length}; }

static string copied(string words) {
    text copy = {0};
    add_string(&copy, words);
    return finished(copy);
}

static bool equal(string one, string other) {
    return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0;
}

// ---------------------------------------------------------------- settings

static const char *SCHEMA =
    "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"type\": \"object\", \"required\": [\"label\"],"
    " \"additionalProperties\": false, \"properties\": {\"label\": {\"type\": \"string\", \"minLength\": 1,"
    " \"description\": \"The label of the pod whose number shall be large.\"}}}";

static void skip_blanks(string *json) {
    while (json->len > 0 && strchr(" \t\r\n", *json->ptr) != NULL) json->ptr++, json->len--;
}

static bool take(string *json, char sign) {
    skip_blanks(json);
    if (json->len == 0 || *json->ptr != sign) return false;
    json->ptr++, json->len--;
    return true;
}

// Takes a text without escapes: no label's key needs any.
static bool take_text(string *json, string *found) {
    if (!take(json, '"')) return false;
    *found = (string){json->ptr, 0};
    while (json->len > 0 && *json->ptr != '"' && *json->ptr != '\\') json->ptr++, json->len--, found->len++;
    return take(json, '"');
}

// Reads `{"label": "…"}`. Says what is wrong, or nothing.
static const char *read_settings(string json, string *label) {
    const string wanted = {(uint8_t *)"label", 5};
    string key;
    if (!take(&json, '{')) return "expected an object, as in {\"label\": \"memory-gib\"}";
    if (!take_text(&json, &key)) return "expected the field `label`";
    if (!equal(key, wanted)) return "there is only one field, `label`";
    if (!take(&json, ':') || !take_text(&json, label)) return "`label` has to be a text: the key of a label";
    if (label->len == 0) return "`label` has to be the key of a label, as in memory-gib";
    if (!take(&json, '}')) return "there is only one field, `label`";
    skip_blanks(&json);
    return json.len == 0 ? NULL : "expected nothing after the object";
}

// ---------------------------------------------------------------- the rule

// What is thought of one candidate.
typedef struct {
    const candidate *of;
    uint64_t number, work;
} view;

// Reads a number below 10^18; anything else is none.
static bool read_number(string words, uint64_t *number) {
    *number = 0;
    if (words.len == 0 || words.len > 18) return false;
    for (size_t at = 0; at < words.len; at++) {
        if (words.ptr[at] < '0' || words.ptr[at] > '9') return *number = 0, false;
        *number = *number * 10 + (words.ptr[at] - '0');
    }
    return true;
}

static const string *label_of(const candidate *one, string key) {
    for (size_t at = 0; at < one->labels.len; at++)
        if (equal(one->labels.ptr[at].f0, key)) return &one->labels.ptr[at].f1;
    return NULL;
}

// As `most-advanced` weighs it: a transaction that has to be fetched counts twice.
static uint64_t work_of(const candidate *one) {
    uint64_t work;
    if (__builtin_mul_overflow(one->missing_transactions, 2, &work)) return UINT64_MAX;
    if (__builtin_add_overflow(work, one->unapplied_transactions, &work)) return UINT64_MAX;
    return work;
}

static view seen(const candidate *one, string key) {
    view view = {.of = one, .work = work_of(one)};
    const string *label = label_of(one, key);
    if (label != NULL) read_number(*label, &view.number);
    return view;
}

static int best_first(const void *left, const void *right) {
    const view *a = left, *b = right;
    if (a->number != b->number) return a->number > b->number ? -1 : 1;
    if (a->work != b->work) return a->work < b->work ? -1 : 1;
    return a->of->ordinal < b->of->ordinal ? -1 : a->of->ordinal > b->of->ordinal;
}

static string in_words(view view, string key) {
    text words = {0};
    uint64_t number;
    const string *label = label_of(view.of, key);
    if (label == NULL) {
        add(&words, "has no label ");
        add_string(&words, key);
    } else {
        add(&words, "is labelled ");
        add_string(&words, key);
        add(&words, "=");
        add_string(&words, *label);
        if (!read_number(*label, &number)) add(&words, ", which is no number");
    }
    add(&words, "; lacks ");
    add_number(&words, view.of->missing_transactions);
    add(&words, " transactions; ");
    add_number(&words, view.of->unapplied_transactions);
    add(&words, " left to apply");
    return finished(words);
}

// Whether it may be named: it is eligible and, in a switchover, not the one that leads now.
static bool may_lead(const question *asked, const candidate *one) {
    bool leads = asked->trigger == EXPORTS_GRAMPUS_PRIMARY_SELECTION_POLICY_TRIGGER_SWITCHOVER &&
                 asked->former_primary.is_some && equal(asked->former_primary.val, one->name);
    return one->ineligible.len == 0 && !leads;
}

// Why there is nobody, with each member's first reason.
static string nobody(const question *asked) {
    text words = {0};
    add(&words, "no member is eligible");
    for (size_t at = 0; at < asked->candidates.len; at++) {
        const candidate *one = &asked->candidates.ptr[at];
        add(&words, at == 0 ? ": " : "; ");
        add_string(&words, one->name);
        add(&words, ": ");
        if (one->ineligible.len > 0) add_string(&words, one->ineligible.ptr[0].message);
        else add(&words, "is the primary to be replaced");
    }
    return finished(words);
}

static void hold(answer *given, string reason) {
    given->tag = EXPORTS_GRAMPUS_PRIMARY_SELECTION_POLICY_ANSWER_HOLD;
    given->val.hold.reason = reason;
}

// ---------------------------------------------------------------- what the contract asks for

void exports_grampus_primary_selection_policy_describe(description *said) {
    primary_selection_string_dup(&said->name, "prefer-larger");
    primary_selection_string_dup(&said->version, "0.1.0");
    primary_selection_string_dup(&said->summary, "leads where a label of the pod holds the largest number");
    said->settings_schema.is_some = true;
    primary_selection_string_dup(&said->settings_schema.val, SCHEMA);
}

bool exports_grampus_primary_selection_policy_validate_settings(string *json, settings_error *error) {
    string label;
    const char *wrong = read_settings(*json, &label);
    if (wrong == NULL) return true;
    error->path = (string){0};
    primary_selection_string_dup(&error->message, wrong);
    return false;
}

void exports_grampus_primary_selection_policy_decide(question *asked, string *json, answer *given) {
    string key, wrong_settings;
    const char *wrong = read_settings(*json, &key);
    if (wrong != NULL) {
        primary_selection_string_dup(&wrong_settings, wrong);
        return hold(given, wrong_settings);
    }
    size_t count = 0;
    view *views = allocated(malloc((asked->candidates.len + 1) * sizeof *views));
    for (size_t at = 0; at < asked->candidates.len; at++)
        if (may_lead(asked, &asked->candidates.ptr[at])) views[count++] = seen(&asked->candidates.ptr[at], key);
    if (count == 0) return hold(given, nobody(asked));
    qsort(views, count, sizeof *views, best_first);
    ranked *ranking = allocated(malloc(count * sizeof *ranking));
    for (size_t place = 0; place < count; place++) {
        ranking[place].candidate = copied(views[place].of->name);
        ranking[place].score = (int64_t)views[place].number;
        ranking[place].reason = in_words(views[place], key);
    }
    given->tag = EXPORTS_GRAMPUS_PRIMARY_SELECTION_POLICY_ANSWER_PROMOTE;
    given->val.promote.candidate = copied(views[0].of->name);
    given->val.promote.reason = in_words(views[0], key);
    given->val.promote.ranking.ptr = ranking;
    given->val.promote.ranking.len = count;
}
