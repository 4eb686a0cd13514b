#ifndef WALK_H
#define WALK_H
#include <stddef.h>
#include <stdint.h>

struct tree;
struct tree *tree_new(void);
void tree_insert(struct tree *tree, const char *word, int value);
void tree_walk(struct tree *tree, uintptr_t handle);
void tree_free(struct tree *tree);

void sort_words(char **words, size_t count);
int call_from_threads(int count, uintptr_t handle);
int fail_with_errno(int number);
const char *greeting(void);

#endif
