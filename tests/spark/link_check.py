"""Whether a jar fits a Spark, without running either: every class, constructor, method and field that the jar's classes name is looked for in
Spark's jars, as the JVM does when it links. Also abstract methods that nobody implements, and final ones that are overridden.

As a program: link_check.py JAR DIRECTORY, the folder with Spark's jars. Prints what is missing; exit code 1 if anything is.

Not seen: whether a method is static, and what is looked for at run time by its name. Java's own classes are taken as they are.
"""

import glob
import struct
import sys
import zipfile

PUBLIC, PRIVATE, STATIC, PROTECTED, FINAL, INTERFACE, ABSTRACT = 1, 2, 8, 4, 0x10, 0x200, 0x400
OF_OBJECT = {"<init>", "clone", "equals", "finalize", "getClass", "hashCode", "notify", "notifyAll", "toString", "wait"}
CLASS, FIELD, METHOD, INTERFACE_METHOD = 7, 9, 10, 11  # tags of the constant pool
# The lengths of the other constants, by tag; after a long or a double (5, 6) one index is left out.
LENGTHS = {3: 4, 4: 4, 5: 8, 6: 8, 8: 2, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}


class ClassFile:
    """What is declared in it, and what it names."""

    def __init__(self, content):
        self.content = content
        self.at = 8  # after the magic and the version
        self.constants = {}
        self.read_constants()
        self.access, name, parent, count = self.take(">HHHH")
        self.name = self.class_name(name)
        self.parent = self.class_name(parent) if parent else None
        self.interfaces = [self.class_name(index) for index in self.take(f">{count}H")]
        self.fields, self.methods = self.read_members(), self.read_members()

    def take(self, form):
        values = struct.unpack_from(form, self.content, self.at)
        self.at += struct.calcsize(form)
        return values

    def read_constants(self):
        index, (count,) = 1, self.take(">H")
        while index < count:
            (tag,) = self.take(">B")
            if tag == 1:
                (length,) = self.take(">H")
                self.constants[index] = self.content[self.at:self.at + length].decode("utf-8", "replace")
                self.at += length
            elif tag == CLASS:
                self.constants[index] = (tag, *self.take(">H"))
            elif tag in (FIELD, METHOD, INTERFACE_METHOD, 12):
                self.constants[index] = (tag, *self.take(">HH"))
            else:
                self.at += LENGTHS[tag]
            index += 2 if tag in (5, 6) else 1

    def read_members(self):
        """{(name, descriptor): access}"""
        members = {}
        for _ in range(self.take(">H")[0]):
            access, name, descriptor, attributes = self.take(">HHHH")
            members[self.constants[name], self.constants[descriptor]] = access
            for _ in range(attributes):
                self.at += 2
                self.at += 4 + struct.unpack_from(">I", self.content, self.at)[0]
        return members

    def class_name(self, index):
        return self.constants[self.constants[index][1]]

    def named_classes(self):
        names = (self.constants[value[1]] for value in self.constants.values() if value[0] == CLASS)
        return {name.lstrip("[").removeprefix("L").removesuffix(";") if name[0] == "[" else name for name in names}

    def named_members(self):
        """[(tag, class, name, descriptor)]"""
        for value in self.constants.values():
            if value[0] in (FIELD, METHOD, INTERFACE_METHOD):
                _, name, descriptor = self.constants[value[2]]
                yield value[0], self.class_name(value[1]), self.constants[name], self.constants[descriptor]


class Classes:
    """Classes by name, out of jars; the first that has one counts."""

    def __init__(self, jars):
        self.places = {}
        self.known = {}
        for path in jars:
            jar = zipfile.ZipFile(path)
            for name in jar.namelist():
                if name.endswith(".class"):
                    self.places.setdefault(name.removesuffix(".class"), jar)

    def find(self, name):
        """None: not there."""
        if name not in self.known:
            jar = self.places.get(name)
            self.known[name] = ClassFile(jar.read(f"{name}.class")) if jar else None
        return self.known[name]

    def ancestors(self, name):
        """Its own file, those of the classes above it, then those of all interfaces; None for one that is not in the jars."""
        chain, interfaces = [], []
        while name:
            found = self.find(name)
            chain.append((name, found))
            interfaces += found.interfaces if found else []
            name = found.parent if found else None
        while interfaces:
            name = interfaces.pop(0)
            found = self.find(name)
            chain.append((name, found))
            interfaces += found.interfaces if found else []
        return chain


def is_javas(name):
    return name.startswith(("java/", "javax/"))


def package(name):
    return name.rpartition("/")[0]


class Check:
    def __init__(self, jar, sparks_jars):
        self.own = Classes([jar])
        self.all = Classes([jar, *sparks_jars])
        self.missing = []

    def run(self):
        """[text], a line for each thing that is missing."""
        for name in sorted(self.own.places):
            found = self.own.find(name)
            for other in sorted(found.named_classes()):
                self.check_class(found, other)
            wrong = [(member, text) for member in sorted(found.named_members()) if (text := self.lacks(found, *member))]
            # Of the constructors of the class above it one is enough: such a class looks which one there is.
            above = [member for member in found.named_members() if member[1:3] == (found.parent, "<init>")]
            one_of_many = len(above) > sum(member in above for member, _ in wrong)
            self.missing += [f"{name}: {text}" for member, text in wrong if not (member in above and one_of_many)]
            self.check_overriding(found)
        return self.missing

    def check_class(self, found, other):
        if len(other) == 1 or is_javas(other):  # a primitive type, of an array
            return
        there = self.all.find(other)
        if there is None:
            self.missing.append(f"{found.name}: no class {other}")
        elif not there.access & PUBLIC and package(other) != package(found.name):
            self.missing.append(f"{found.name}: class {other} is not public")

    def lacks(self, found, tag, owner, name, descriptor):
        """What is wrong with the member that the class names; None: nothing, or it is said of the owner."""
        if owner[0] == "[" or is_javas(owner) or self.all.find(owner) is None:
            return None
        if tag != FIELD and bool(self.all.find(owner).access & INTERFACE) != (tag == INTERFACE_METHOD):
            return f"{owner} has become an interface, or ceased to be one"
        for above, there in self.all.ancestors(owner):
            if there is None:
                if above != "java/lang/Object" or name in OF_OBJECT and name != "<init>":
                    return None
                continue
            access = (there.fields if tag == FIELD else there.methods).get((name, descriptor))
            if access is not None:
                closed = access & PRIVATE or not access & (PUBLIC | PROTECTED) and package(above) != package(found.name)
                return f"{owner}.{name}{descriptor} is not accessible" if closed and above not in self.own.places else None
            if name == "<init>":
                break
        return f"no {owner}.{name} {descriptor}"

    def check_overriding(self, found):
        chain = [(name, there) for name, there in self.all.ancestors(found.name) if there]
        for name, there in chain[1:]:
            if there.access & FINAL:
                self.missing.append(f"{found.name}: class {name} is final")
            for (method, descriptor), access in there.methods.items():
                if access & FINAL and not access & (PRIVATE | STATIC) and (method, descriptor) in found.methods:
                    self.missing.append(f"{found.name}: {name}.{method}{descriptor} is final")
                if access & ABSTRACT and not found.access & (ABSTRACT | INTERFACE) and not self.implemented(chain, method, descriptor):
                    self.missing.append(f"{found.name}: {name}.{method}{descriptor} is not implemented")

    def implemented(self, chain, method, descriptor):
        if any(there.methods.get((method, descriptor), ABSTRACT) & ABSTRACT == 0 for _, there in chain):
            return True
        return any(is_javas(there.parent or "") and there.parent != "java/lang/Object" for _, there in chain) or method in OF_OBJECT


def missing(jar, directory):
    """[text]: what the jar names and the Spark with its jars in the folder has not."""
    return Check(jar, sorted(glob.glob(f"{directory}/*.jar"))).run()


def main():
    found = missing(sys.argv[1], sys.argv[2])
    print("\n".join(found) if found else "all is there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
