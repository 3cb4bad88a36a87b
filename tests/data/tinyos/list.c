#include "list.h"

/* Returns 0 when the list is full. */
int list_push(struct list *list, int item)
{
	if (list->n == CAPACITY)
		return 0;
	list->items[list->n++] = item;
	return 1;
}

int list_sum(const struct list *list)
{
	int sum = 0;

	for (int i = 0; i < list->n; i++)
		sum += list->items[i];
	return sum;
}
