"""Whether a jar fits a Spark, without running either: every class, constructor, method and field that the jar's classes name is looked for in
Spark's jars, as the JVM does when it links. Also abstract methods that nobody implements, and final ones that are overridden.

As a program: link_check.py JAR DIRECTORY, the folder with Spark's jars. Prints what is missing; exit code 1 if anything is.

Not seen: whether a method is static, and what is looked for at run time by its name. Needs a JDK, for Java's own classes.
"""

import glob
import os
import shutil
import struct
import sys
import zipfile

PUBLIC, PRIVATE, PROTECTED, STATIC, FINAL, INTERFACE, ABSTRACT = 1, 2, 4, 8, 0x10, 0x200, 0x400
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
                if name.endswith(".class"):  # the JDK's lie in a folder
                    self.places.setdefault(name.removesuffix(".class").removeprefix("classes/"), (jar, name))

    def find(self, name):
        """None: not there."""
        if name not in self.known:
            jar, entry = self.places.get(name, (None, None))
            self.known[name] = ClassFile(jar.read(entry)) if jar else None
        return self.known[name]

    def ancestors(self, name):
        """Its own file, those of the classes above it, then those of all interfaces."""
        chain, interfaces = [], []
        while name and (found := self.find(name)):
            chain.append(found)
            interfaces += found.interfaces
            name = found.parent
        while interfaces:
            if found := self.find(interfaces.pop(0)):
                chain.append(found)
                interfaces += found.interfaces
        return chain


def package(name):
    return name.rpartition("/")[0]


class Check:
    def __init__(self, jar, sparks_jars):
        jdk = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("javac"))))
        self.own = Classes([jar])
        self.all = Classes([jar, *sparks_jars, f"{jdk}/jmods/java.base.jmod"])
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
        if len(other) == 1:  # a primitive type, of an array
            return
        there = self.all.find(other)
        if there is None:
            self.missing.append(f"{found.name}: no class {other}")
        elif not there.access & PUBLIC and package(other) != package(found.name):
            self.missing.append(f"{found.name}: class {other} is not public")

    def lacks(self, found, tag, owner, name, descriptor):
        """What is wrong with the member that the class names; None: nothing, or it is said of the owner."""
        its_class = self.all.find(owner)
        if its_class is None:
            return None
        if tag != FIELD and bool(its_class.access & INTERFACE) != (tag == INTERFACE_METHOD):
            return f"{owner} has become an interface, or ceased to be one"
        for there in self.all.ancestors(owner)[:1 if name == "<init>" else None]:
            access = (there.fields if tag == FIELD else there.methods).get((name, descriptor))
            if access is not None:
                inside = there.name in self.own.places or access & (PUBLIC | PROTECTED) or package(there.name) == package(found.name)
                return None if inside and not (access & PRIVATE and there.name not in self.own.places) else f"{owner}.{name} is not accessible"
        return f"no {owner}.{name} {descriptor}"

    def check_overriding(self, found):
        chain = self.all.ancestors(found.name)
        for there in chain[1:]:
            if there.access & FINAL:
                self.missing.append(f"{found.name}: class {there.name} is final")
            for member, access in there.methods.items():
                if access & FINAL and not access & (PRIVATE | STATIC) and member in found.methods:
                    self.missing.append(f"{found.name}: {there.name}.{member[0]} {member[1]} is final")
                implemented = any(above.methods.get(member, ABSTRACT) & ABSTRACT == 0 for above in chain)
                if access & ABSTRACT and not found.access & (ABSTRACT | INTERFACE) and not implemented:
                    self.missing.append(f"{found.name}: {there.name}.{member[0]} {member[1]} is not implemented")


def missing(jar, directory):
    """[text]: what the jar names and the Spark with its jars in the folder has not."""
    return Check(jar, sorted(glob.glob(f"{directory}/*.jar"))).run()


def main():
    found = missing(sys.argv[1], sys.argv[2])
    print("\n".join(found) if found else "all is there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
