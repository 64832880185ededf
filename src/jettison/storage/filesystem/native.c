/* Many small files of one folder at a time: opened beneath it, read, looked at, moved, removed.
 *
 * A collection looks at millions of files. A call for each costs Python several times what it costs
 * the kernel; here one call does a few hundred, with the interpreter's lock released. This is plain
 * C without Python in it (native.py calls it by ctypes), so one build serves every version,
 * and where there is none, folder.py does the same one by one.
 *
 * No symbolic link is followed, and nothing outside of the folder is reached: openat2 says so to
 * the kernel (beneath.py). Names stand one behind the other, each ended by a zero byte.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define JETTISON_VERSION 3

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#define BENEATH (0x02 | 0x04 | 0x08) /* no magic links, no symbolic links, beneath */
#define ATTEMPTS 128                 /* a rename beside makes the kernel look again */
#define NAME_MOST 4096

struct how {
    uint64_t flags, mode, resolve;
};

/* What getdents64 writes; the C libraries do not all declare it. */
struct entry {
    uint64_t inode;
    int64_t next;
    unsigned short length;
    unsigned char type, name[];
};

int jettison_version(void) { return JETTISON_VERSION; }

static const signed char NIBBLES[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

/* Whether 64 lower-case hexadecimal digits are there; it stops at the first other byte. */
static int is_digest(const unsigned char *hex)
{
    for (int at = 0; at < 64; at++)
        if (!NIBBLES[hex[at]])
            return 0;
    return 1;
}

static void decode(const unsigned char *hex, unsigned char *out)
{
    for (int at = 0; at < 32; at++, hex += 2)
        out[at] = (unsigned char)((NIBBLES[hex[0]] - 1) << 4 | (NIBBLES[hex[1]] - 1));
}

static void encode(const unsigned char *digest, char *out)
{
    for (int at = 0; at < 32; at++) {
        *out++ = "0123456789abcdef"[digest[at] >> 4];
        *out++ = "0123456789abcdef"[digest[at] & 15];
    }
}

/* Return a descriptor, or an error number below zero.
 *
 * EXDEV is said of a path that leads out, and where a folder on the way was moved out meanwhile. */
static int beneath(int folder, const char *path, int flags)
{
    struct how how = {(uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC), 0, BENEATH};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        long found = syscall(SYS_openat2, folder, path, &how, sizeof how);
        if (found >= 0)
            return (int)found;
        if (errno != EAGAIN && errno != EINTR && errno != EXDEV)
            break;
    }
    return -errno;
}

/* Whether openat2 is there and allowed, as it is not in some sandboxes. */
int jettison_works(int folder)
{
    int found = beneath(folder, ".", O_PATH | O_DIRECTORY);
    if (found >= 0)
        close(found);
    return found >= 0;
}

/* Read at most `most` bytes of each file into `out`, one file's behind the other's.
 *
 * `sizes` are how many bytes each has there, or an error number below zero. Returns how many were
 * read before less than `most` bytes of `room` were left. */
long jettison_read_each(int folder, const char *names, long count, long most, unsigned char *out,
                        long room, int32_t *sizes)
{
    long at = 0;
    for (; at < count && room >= most; at++) {
        int file = beneath(folder, names, O_RDONLY | O_NONBLOCK);
        ssize_t size = file;
        if (file >= 0) {
            size = read(file, out, (size_t)most);
            if (size < 0)
                size = -errno;
            close(file);
        }
        sizes[at] = (int32_t)size;
        if (size > 0) {
            out += size;
            room -= size;
        }
        names += strlen(names) + 1;
    }
    return at;
}

/* Write the digests that the folders in a folder are named after, 32 bytes each.
 *
 * Returns how many bytes that is; -EINVAL if anything else is in it, -ENOBUFS if there are more. */
long jettison_list_digests(int folder, unsigned char *out, long room)
{
    char entries[32768] __attribute__((aligned(8)));
    unsigned char *start = out, *limit = out + room;
    if (lseek(folder, 0, SEEK_SET) < 0)
        return -errno;
    for (;;) {
        long filled = syscall(SYS_getdents64, folder, entries, sizeof entries);
        if (filled < 0)
            return -errno;
        if (filled == 0)
            return out - start;
        for (long at = 0; at < filled;) {
            struct entry *entry = (struct entry *)(entries + at);
            const unsigned char *name = entry->name;
            at += entry->length;
            if (name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)))
                continue;
            if (entry->type != DT_DIR || !is_digest(name) || name[64] != 0)
                return -EINVAL;
            if (limit - out < 32)
                return -ENOBUFS;
            decode(name, out);
            out += 32;
        }
    }
}

/* Tell of each digest whether its folder's `link` holds just that digest: 1; 2 if there is none. */
void jettison_link_states(int folder, const unsigned char *digests, long count, unsigned char *states)
{
    char name[64 + 6], wanted[7 + 64], found[256];
    memcpy(name + 64, "/link", 6);
    memcpy(wanted, "sha256:", 7);
    for (long at = 0; at < count; at++, digests += 32) {
        encode(digests, wanted + 7);
        memcpy(name, wanted + 7, 64);
        int file = beneath(folder, name, O_RDONLY | O_NONBLOCK);
        states[at] = file == -ENOENT ? 2 : 0;
        if (file < 0)
            continue;
        ssize_t size = read(file, found, sizeof found);
        states[at] = size == sizeof wanted && memcmp(found, wanted, sizeof wanted) == 0;
        close(file);
    }
}

#define LOOK_FIELDS 6

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int look(int folder, const char *name, struct stat *found)
{
    if (strchr(name, '/') == NULL)
        return fstatat(folder, name, found, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
    int file = beneath(folder, name, O_PATH);
    if (file < 0)
        return file;
    int failed = fstat(file, found) ? -errno : 0;
    close(file);
    return failed;
}

/* Look at each entry itself: mode (or an error number below zero), size, times, names, blocks. */
void jettison_look_each(int folder, const char *names, long count, int64_t *out)
{
    for (long at = 0; at < count; at++, out += LOOK_FIELDS) {
        struct stat found;
        int failed = look(folder, names, &found);
        if (failed) {
            out[0] = failed;
        } else {
            out[0] = found.st_mode;
            out[1] = found.st_size;
            out[2] = nanoseconds(found.st_mtim);
            out[3] = nanoseconds(found.st_ctim);
            out[4] = (int64_t)found.st_nlink;
            out[5] = found.st_blocks;
        }
        names += strlen(names) + 1;
    }
}

/* Write the size of each sha256 blob below the folder of blobs, an error number below zero for one
 * that is no file. With `readable` also for one whose first byte cannot be read. */
void jettison_blob_sizes(int folder, const unsigned char *digests, long count, int readable,
                         int64_t *sizes)
{
    char name[7 + 3 + 64 + 6], first;
    memcpy(name, "sha256/", 7);
    name[9] = '/';
    memcpy(name + 74, "/data", 6);
    for (long at = 0; at < count; at++, digests += 32) {
        struct stat found;
        encode(digests, name + 10);
        memcpy(name + 7, name + 10, 2);
        int file = beneath(folder, name, readable ? O_RDONLY | O_NONBLOCK : O_PATH);
        if (file < 0) {
            sizes[at] = file;
            continue;
        }
        if (fstat(file, &found))
            sizes[at] = -errno;
        else if (!S_ISREG(found.st_mode))
            sizes[at] = -ENOENT;
        else if (readable && read(file, &first, 1) != (found.st_size > 0))
            sizes[at] = -EIO;
        else
            sizes[at] = found.st_size;
        close(file);
    }
}

/* Open the folder that an entry is in, and tell its name there: the folder itself if none is named.
 * Returns an error number below zero for a name that could lead elsewhere. */
static int parent(int folder, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    char above[NAME_MOST];
    *name = slash == NULL ? path : slash + 1;
    if (**name == 0 || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
        return -EXDEV;
    if (slash == NULL)
        return folder;
    size_t length = (size_t)(slash - path);
    if (length >= sizeof above)
        return -ENAMETOOLONG;
    memcpy(above, path, length);
    above[length] = 0;
    return beneath(folder, above, O_PATH | O_DIRECTORY);
}

/* Remove each file, or each empty folder with `flags` AT_REMOVEDIR. `failed`: error numbers or 0. */
void jettison_unlink_each(int folder, const char *names, long count, int flags, int32_t *failed)
{
    for (long at = 0; at < count; at++) {
        const char *name;
        int above = parent(folder, names, &name);
        if (above < 0) {
            failed[at] = -above;
        } else {
            failed[at] = unlinkat(above, name, flags) ? errno : 0;
            if (above != folder)
                close(above);
        }
        names += strlen(names) + 1;
    }
}

/* Rename each entry below `from` to one below `to`. `failed`: error numbers or 0. */
void jettison_move_each(int from, const char *names, int to, const char *news, long count,
                        int32_t *failed)
{
    for (long at = 0; at < count; at++) {
        const char *name, *new_name;
        int above = parent(from, names, &name), target;
        size_t length = (size_t)(name - names);
        int same = from == to && strncmp(names, news, length) == 0 &&
                   strchr(news + length, '/') == NULL && news[length] != 0 &&
                   strcmp(news + length, "..") != 0 && strcmp(news + length, ".") != 0;
        if (same) {
            target = above;
            new_name = news + length;
        } else {
            target = above < 0 ? above : parent(to, news, &new_name);
        }
        if (above < 0 || target < 0) {
            failed[at] = above < 0 ? -above : -target;
        } else {
            failed[at] = renameat(above, name, target, new_name) ? errno : 0;
        }
        if (target >= 0 && target != to && !same)
            close(target);
        if (above >= 0 && above != from)
            close(above);
        names += strlen(names) + 1;
        news += strlen(news) + 1;
    }
}

/* What the two usual kinds of manifests reference.
 *
 * This takes less than JSON is: ASCII without escapes, members that are known, each once, nothing
 * null, and no text that is `digest` or `blobSum` in whatever case but the names where they belong.
 * Whatever else a manifest may be, it is left to manifest_references.py, which tells the same of those
 * that are taken here (tests/model/test_manifest_references.py). */

enum kind { UNUSUAL, IMAGE, INDEX };

struct reader {
    const unsigned char *at, *end;
    unsigned char *out, *limit; /* where digests go */
};

struct text {
    const unsigned char *start;
    size_t length;
};

static void space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static int take(struct reader *r, unsigned char one)
{
    space(r);
    if (r->at >= r->end || *r->at != one)
        return 0;
    r->at++;
    return 1;
}

static int is_text(struct text text, const char *other)
{
    size_t length = strlen(other);
    return text.length == length && memcmp(text.start, other, length) == 0;
}

static int is_word(struct text text, const char *lower)
{
    if (text.length != strlen(lower))
        return 0;
    for (size_t at = 0; at < text.length; at++)
        if ((text.start[at] | 0x20) != (unsigned char)lower[at])
            return 0;
    return 1;
}

/* What ends a text, or is left to others: controls, the quote, the backslash, all beyond ASCII. */
static const unsigned char ENDS_TEXT[256] = {
    [0 ... 0x1f] = 1,
    ['"'] = 1,
    ['\\'] = 1,
    [0x80 ... 0xff] = 1,
};

static int text(struct reader *r, struct text *found)
{
    if (!take(r, '"'))
        return 0;
    found->start = r->at;
    const unsigned char *at = r->at, *end = r->end;
    while (at < end && !ENDS_TEXT[*at])
        at++;
    if (at >= end || *at != '"')
        return 0;
    found->length = (size_t)(at - found->start);
    r->at = at + 1;
    return 1;
}

/* A text that no reader takes for the name of a digest. */
static int plain(struct reader *r, struct text *found)
{
    return text(r, found) && !is_word(*found, "digest") && !is_word(*found, "blobsum");
}

/* A number that is not negative, without a fraction, that every reader can hold. */
static int number(struct reader *r, uint64_t *found)
{
    space(r);
    const unsigned char *start = r->at;
    *found = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        *found = *found * 10 + (uint64_t)(*r->at - '0');
        r->at++;
    }
    size_t length = (size_t)(r->at - start);
    if (length == 0 || length > 18 || (*start == '0' && length > 1))
        return 0;
    return r->at >= r->end || (*r->at != '.' && *r->at != 'e' && *r->at != 'E');
}

static int digest(struct reader *r)
{
    struct text found;
    if (!text(r, &found) || found.length != 71 || memcmp(found.start, "sha256:", 7) != 0)
        return 0;
    if (r->limit - r->out < 32 || !is_digest(found.start + 7))
        return 0;
    decode(found.start + 7, r->out);
    r->out += 32;
    return 1;
}

/* A list of texts. */
static int texts(struct reader *r)
{
    struct text found;
    if (!take(r, '['))
        return 0;
    if (take(r, ']'))
        return 1;
    do {
        if (!plain(r, &found))
            return 0;
    } while (take(r, ','));
    return take(r, ']');
}

/* An object of texts, or, with `lists`, of texts and lists of texts. */
static int members(struct reader *r, int lists)
{
    struct text found;
    if (!take(r, '{'))
        return 0;
    if (take(r, '}'))
        return 1;
    do {
        if (!plain(r, &found) || !take(r, ':'))
            return 0;
        space(r);
        if (lists && r->at < r->end && *r->at == '[') {
            if (!texts(r))
                return 0;
        } else if (!plain(r, &found)) {
            return 0;
        }
    } while (take(r, ','));
    return take(r, '}');
}

/* Note that a member is there; it may be once. */
static int once(unsigned *seen, int member)
{
    unsigned bit = 1u << member;
    if (*seen & bit)
        return 0;
    *seen |= bit;
    return 1;
}

static int is_manifest(struct text type)
{
    return is_text(type, "application/vnd.oci.image.manifest.v1+json") ||
           is_text(type, "application/vnd.docker.distribution.manifest.v2+json") ||
           is_text(type, "application/vnd.oci.image.index.v1+json") ||
           is_text(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

/* Return whether it is a descriptor, of a manifest if `of_manifest`. */
static int descriptor(struct reader *r, int of_manifest)
{
    struct text name, found;
    struct text type = {(const unsigned char *)"", 0};
    unsigned seen = 0;
    uint64_t size;
    if (!take(r, '{'))
        return 0;
    do {
        if (!text(r, &name) || !take(r, ':'))
            return 0;
        if (is_text(name, "digest")) {
            if (!once(&seen, 0) || !digest(r))
                return 0;
        } else if (is_text(name, "mediaType")) {
            if (!once(&seen, 1) || !plain(r, &type))
                return 0;
        } else if (is_text(name, "size")) {
            if (!once(&seen, 2) || !number(r, &size))
                return 0;
        } else if (is_text(name, "annotations")) {
            if (!once(&seen, 3) || !members(r, 0))
                return 0;
        } else if (is_text(name, "platform")) {
            if (!once(&seen, 4) || !members(r, 1))
                return 0;
        } else if (is_text(name, "urls")) {
            if (!once(&seen, 5) || !texts(r))
                return 0;
        } else if (is_text(name, "artifactType")) {
            if (!once(&seen, 6) || !plain(r, &found))
                return 0;
        } else {
            return 0;
        }
    } while (take(r, ','));
    return take(r, '}') && (seen & 1) && (!of_manifest || is_manifest(type));
}

static int descriptors(struct reader *r, int of_manifests)
{
    if (!take(r, '['))
        return 0;
    if (take(r, ']'))
        return 1;
    do {
        if (!descriptor(r, of_manifests))
            return 0;
    } while (take(r, ','));
    return take(r, ']');
}

static enum kind manifest(struct reader *r, unsigned char *subject, int *has_subject)
{
    struct text name, found;
    struct text type = {(const unsigned char *)"", 0};
    unsigned seen = 0;
    uint64_t version = 0;
    *has_subject = 0;
    if (!take(r, '{'))
        return UNUSUAL;
    do {
        if (!text(r, &name) || !take(r, ':'))
            return UNUSUAL;
        if (is_text(name, "schemaVersion")) {
            if (!once(&seen, 0) || !number(r, &version) || version != 2)
                return UNUSUAL;
        } else if (is_text(name, "mediaType")) {
            if (!once(&seen, 1) || !plain(r, &type))
                return UNUSUAL;
        } else if (is_text(name, "config")) {
            /* before the layers, as everybody writes them: so their order is that of the file */
            if (!once(&seen, 2) || (seen & 8) || !descriptor(r, 0))
                return UNUSUAL;
        } else if (is_text(name, "layers")) {
            if (!once(&seen, 3) || !descriptors(r, 0))
                return UNUSUAL;
        } else if (is_text(name, "manifests")) {
            if (!once(&seen, 4) || !descriptors(r, 1))
                return UNUSUAL;
        } else if (is_text(name, "annotations")) {
            if (!once(&seen, 5) || !members(r, 0))
                return UNUSUAL;
        } else if (is_text(name, "artifactType")) {
            if (!once(&seen, 6) || !plain(r, &found))
                return UNUSUAL;
        } else if (is_text(name, "subject")) {
            unsigned char *before = r->out;
            if (!once(&seen, 7) || !descriptor(r, 0))
                return UNUSUAL;
            memcpy(subject, before, 32);
            r->out = before;
            *has_subject = 1;
        } else {
            return UNUSUAL;
        }
    } while (take(r, ','));
    if (!take(r, '}'))
        return UNUSUAL;
    space(r);
    if (r->at != r->end || version != 2)
        return UNUSUAL;
    switch (seen & 0x1c) {
    case 0x0c: /* config and layers */
        return type.length == 0 || is_text(type, "application/vnd.oci.image.manifest.v1+json") ||
                       is_text(type, "application/vnd.docker.distribution.manifest.v2+json")
                   ? IMAGE
                   : UNUSUAL;
    case 0x10: /* manifests */
        return type.length == 0 || is_text(type, "application/vnd.oci.image.index.v1+json") ||
                       is_text(type, "application/vnd.docker.distribution.manifest.list.v2+json")
                   ? INDEX
                   : UNUSUAL;
    default:
        return UNUSUAL;
    }
}

/* Write what each manifest references to `out`, 32 bytes a digest, a subject last. `found` has for
 * each its kind, how many digests it references, and whether there is a subject; one for which
 * there is no room is unusual. */
void jettison_references_each(const unsigned char *raws, const int32_t *sizes, long count,
                              unsigned char *out, long room, int32_t *found)
{
    struct reader r = {raws, raws, out, out + room};
    for (long at = 0; at < count; at++, found += 3) {
        int32_t size = sizes[at] < 0 ? 0 : sizes[at];
        unsigned char subject[32] = {0}, *before = r.out;
        int has_subject = 0;
        r.at = raws;
        r.end = raws += size;
        enum kind kind = size == 0 ? UNUSUAL : manifest(&r, subject, &has_subject);
        if (has_subject && r.limit - r.out < 32)
            kind = UNUSUAL;
        found[0] = kind;
        found[1] = found[2] = 0;
        if (kind == UNUSUAL) {
            r.out = before;
            continue;
        }
        found[1] = (int32_t)((r.out - before) / 32);
        found[2] = has_subject;
        if (has_subject) {
            memcpy(r.out, subject, 32);
            r.out += 32;
        }
    }
}
