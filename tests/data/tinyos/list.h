#define CAPACITY 8

struct list { int items[CAPACITY]; int n; };

int list_push(struct list *list, int item);
int list_sum(const struct list *list);
