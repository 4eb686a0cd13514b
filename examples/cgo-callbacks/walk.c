#include "walk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

struct node {
  struct node *left, *right;
  int value;
  char word[];
};

struct tree {
  struct node *root;
};

struct tree *tree_new(void) { return calloc(1, sizeof(struct tree)); }

void tree_insert(struct tree *tree, const char *word, int value) {
  struct node **place = &tree->root;
  while (*place) {
    place = strcmp(word, (*place)->word) < 0 ? &(*place)->left : &(*place)->right;
  }
  *place = calloc(1, sizeof(struct node) + strlen(word) + 1);
  (*place)->value = value;
  strcpy((*place)->word, word);
}

static void walk(struct node *node, int depth, uintptr_t handle) {
  if (node) {
    walk(node->left, depth + 1, handle);
    visitNode(handle, depth, node->word, node->value);
    walk(node->right, depth + 1, handle);
  }
}

void tree_walk(struct tree *tree, uintptr_t handle) { walk(tree->root, 0, handle); }

static void free_node(struct node *node) {
  if (node) {
    free_node(node->left);
    free_node(node->right);
    free(node);
  }
}

void tree_free(struct tree *tree) {
  free_node(tree->root);
  free(tree);
}

static int compare(const void *a, const void *b) { return compareWords((void *)a, (void *)b); }

void sort_words(char **words, size_t count) { qsort(words, count, sizeof *words, compare); }

struct job {
  uintptr_t handle;
  int number;
  int result;
};

// Each thread of C has a copy of its own.
static __thread int calls = 1;

static void *run(void *argument) {
  struct job *job = argument;
  calls += job->number;
  job->result = fromThread(job->handle, calls - 1);
  return NULL;
}

int call_from_threads(int count, uintptr_t handle) {
  struct job *jobs = calloc(count, sizeof *jobs);
  pthread_t *threads = calloc(count, sizeof *threads);
  for (int i = 0; i < count; i++) {
    jobs[i] = (struct job){handle, i, 0};
    pthread_create(&threads[i], NULL, run, &jobs[i]);
  }
  for (int i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
  }
  int last = jobs[count - 1].result;
  free(threads);
  free(jobs);
  return last;
}

int fail_with_errno(int number) {
  errno = number;
  return -1;
}

static const char *text = "no";

__attribute__((constructor)) static void construct(void) { text = "yes"; }

const char *greeting(void) { return text; }
