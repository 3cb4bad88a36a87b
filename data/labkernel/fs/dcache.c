/* The directory cache: every path of the file system, in one list. Callers hold namespace_lock. */
#include "fs.h"

static LIST_HEAD(dentries);

struct dentry *dcache_lookup(const char *name) {
	list_for_each(pos, &dentries) {
		struct dentry *dentry = list_entry(pos, struct dentry, list);
		if (strcmp(dentry->name, name) == 0) return dentry;
	}
	return NULL;
}

/* Takes over the caller's reference to the inode, unless there is no memory: then it returns NULL. */
struct dentry *dcache_add(const char *name, struct inode *inode) {
	struct dentry *dentry = kzalloc(sizeof(*dentry));
	if (!dentry) return NULL;
	snprintf(dentry->name, sizeof(dentry->name), "%s", name);
	dentry->inode = inode;
	list_add_tail(&dentry->list, &dentries);
	return dentry;
}

void dcache_remove(struct dentry *dentry) {
	list_del(&dentry->list);
	inode_put(dentry->inode);
	kfree(dentry);
}

void dcache_show(void) {
	list_for_each(pos, &dentries) {
		const struct dentry *dentry = list_entry(pos, struct dentry, list);
		printk("%6u %s\n", dentry->inode->size, dentry->name);
	}
}
