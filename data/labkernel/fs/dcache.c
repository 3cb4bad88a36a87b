/*
 * The directory cache: every path of the file system, in a hash table. The hash is seeded at boot, so that
 * nobody can choose names that fall into one bucket. Callers hold namespace_lock.
 */
#include "fs.h"
#include "kernel.h"
#include "mm.h"

#define HASH_BUCKETS 64

static struct list_head buckets[HASH_BUCKETS];

static u32 dcache_hash(const char *name) {
	u32 hash = boot_seed;
	while (*name) hash = (hash ^ (u8)*name++) * 16777619;	/* FNV-1a */
	return (hash ^ hash >> 15) % HASH_BUCKETS;
}

struct dentry *dcache_lookup(const char *name) {
	list_for_each(pos, &buckets[dcache_hash(name)]) {
		struct dentry *dentry = list_entry(pos, struct dentry, hash);
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
	list_add_tail(&dentry->hash, &buckets[dcache_hash(name)]);
	return dentry;
}

void dcache_remove(struct dentry *dentry) {
	list_del(&dentry->hash);
	inode_put(dentry->inode);
	kfree(dentry);
}

void dcache_show(void) {
	for (u32 i = 0; i < HASH_BUCKETS; i++)
		list_for_each(pos, &buckets[i]) {
			const struct dentry *dentry = list_entry(pos, struct dentry, hash);
			printk("%6u %s\n", dentry->inode->size, dentry->name);
		}
}

static void dcache_init(void) {
	for (u32 i = 0; i < HASH_BUCKETS; i++) list_init(&buckets[i]);
}
INITCALL(dcache_init);
