"""The doctor on broken set-ups: each is made, found by the doctor alone, cured as it says, and found cured. Root only."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import unittest

from shuffle_cluster import PATIENCE, PROGRAM, Cluster, until

ADDRESS = os.environ.get("SHUFFLEFS_TEST_ADDRESS", "127.0.0.61")


def doctor(*arguments, prefix=(), env=None):
    """Exit code and findings."""
    done = subprocess.run([*prefix, PROGRAM, "doctor", "--json", "--http", f"{ADDRESS}:7340", *arguments],
                          capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env={**os.environ, "SPARK_CONF_DIR": "", "SPARK_HOME": "", **(env or {})})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def of_others(finding, directory):
    """Other tests run beside this one: their mounts may be dead at the moment, their Sparks are not ours."""
    return (finding["check"] == "mount" and directory not in finding["what"]
            or finding["check"] == "spark" and "(pid" in finding["what"])


def having(findings, severity, words):
    return [one for one in findings if one["severity"] == severity and words in one["what"]]


class BrokenSetUps(unittest.TestCase):
    def setUp(self):
        # pylint: disable-next=consider-using-with
        self.scratch = tempfile.TemporaryDirectory(prefix="shufflefs-doctor-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(self.scratch.cleanup)
        self.flags = ["--node", "n1", "--mount", f"{self.scratch.name}/mnt", "--data", f"{self.scratch.name}/data",
                      "--peer-listen", f"{ADDRESS}:7338", "--http-listen", f"{ADDRESS}:7340",
                      "--spark-listen", f"{ADDRESS}:7337", "--memory", "64M"]

    def assert_sound(self, *more):
        code, findings = doctor(*self.flags, *more)
        problems = [one for one in findings if one["severity"] == "problem"]
        self.assertEqual([one for one in problems if not of_others(one, self.scratch.name)], [])
        self.assertEqual(code, 3 if problems else 0)
        return findings

    def assert_problem(self, words, *more, **options):
        code, findings = doctor(*self.flags, *more, **options)
        self.assertEqual(code, 3, findings)
        found = having(findings, "problem", words)
        self.assertTrue(found, findings)
        self.assertTrue(found[0]["why"] and found[0]["remedy"], found)
        return found[0]

    def test_a_sound_machine_has_no_problem_and_nothing_is_changed(self):
        findings = self.assert_sound()
        self.assertTrue(having(findings, "ok", "the kernel reads and writes the disk itself"), findings)
        self.assertEqual(os.listdir(self.scratch.name), [])

    def test_1_somebody_else_has_sparks_port(self):
        with socket.create_server((ADDRESS, 7337)):
            found = self.assert_problem("spark-listen")
            self.assertIn(f"(pid {os.getpid()})", found["what"])
        self.assert_sound()

    def test_2_sparks_settings_clash(self):
        conf = f"{self.scratch.name}/conf"
        os.mkdir(conf)

        def write(name, text):
            with open(f"{conf}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        write("spark-defaults.conf", "spark.shuffle.service.enabled true\n")
        write("spark-env.sh", "export SPARK_LOCAL_DIRS=/tmp/spark\n")
        self.assert_problem("runs a shuffle service of its own", "--spark-conf", conf)
        found = self.assert_problem("the local directory /tmp/spark is not on the mount", "--spark-conf", conf)
        self.assertIn(f"{self.scratch.name}/mnt/local/disk0", found["remedy"])
        write("spark-env.sh", f"export SPARK_LOCAL_DIRS={self.scratch.name}/mnt/local/disk0/spark\n"
                              "SPARK_WORKER_OPTS=-Dspark.shuffle.service.enabled=false\n")
        self.assert_sound("--spark-conf", conf)

    def test_3_no_privilege_to_mount(self):
        found = self.assert_problem("CAP_SYS_ADMIN is missing",
                                    prefix=("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"))
        self.assertIn("privileged", found["remedy"])

    def test_4_data_on_a_containers_own_layer(self):
        os.mkdir(f"{self.scratch.name}/over")
        script = ("mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && "
                  f"mount -t overlay overlay -o lowerdir=/usr,upperdir=/mnt/u,workdir=/mnt/w {self.scratch.name}/over "
                  '&& exec "$@"')
        flags = [f"--data={self.scratch.name}/over/data" if flag == f"{self.scratch.name}/data" else flag
                 for flag in self.flags if flag != "--data"]
        _, findings = doctor(*flags, prefix=("unshare", "-m", "sh", "-c", script, "sh"))
        self.assertTrue(having(findings, "warning", "overlayfs"), findings)
        refused = [one for one in findings if one["check"] == "local-mode"]
        self.assertEqual(refused[0]["severity"], "warning", refused)
        self.assertIn("plain disk", refused[0]["remedy"])

    def test_5_mistakes_of_the_configuration(self):
        found = self.assert_problem("memry", "--memry", "1G")
        self.assertIn("did you mean memory?", found["remedy"])
        self.assert_problem("push.max-block-bytes", "--push.max-block-bytes", "64M")

    def test_6_a_member_that_is_not_there_and_one_that_is_another(self):
        with socket.create_server((ADDRESS, 7999)) as mute:  # takes the connection and says nothing
            members = f"n1={ADDRESS}:7338,n2={ADDRESS}:7998,n3={ADDRESS}:7999"
            _, findings = doctor(*self.flags, "--members", members)
            self.assertTrue(having(findings, "warning", "n2 at"), findings)
            self.assertTrue(having(findings, "warning", "n3 at"), findings)
            self.assertTrue(having(findings, "ok", "0 of 2 others answer"), findings)
            mute.close()


class BesideACluster(unittest.TestCase):
    def test_a_dead_mount_a_dead_node_and_the_cure(self):
        with Cluster(2) as cluster:
            def look(*more):
                done = cluster.run(0, "doctor", "--json", *more)
                return json.loads(done.stdout)["findings"]

            def problems(findings):
                return [one for one in findings
                        if one["severity"] == "problem" and not of_others(one, cluster.directory)]
            findings = look()
            self.assertEqual(problems(findings), [])
            self.assertTrue(having(findings, "ok", "node1 runs at"), findings)
            self.assertTrue(having(findings, "ok", "1 of 1 others answer"), findings)
            self.assertTrue(having(findings, "ok", "1 compared with ours"), findings)

            cluster.signal(1, signal.SIGKILL)
            until(lambda: having(look(), "warning", "it does not reach node2"), "node1 knows that node2 is down")
            findings = look()
            dead = having(findings, "problem", cluster.mount(1))
            self.assertTrue(dead, findings)
            self.assertTrue(having(findings, "warning", "node2 at"), findings)
            # The cure that it gives: umount -l.
            self.assertIn("umount -l", dead[0]["remedy"])
            subprocess.run(["umount", "-l", cluster.mount(1)], check=True)
            self.assertEqual(problems(look()), [])


if __name__ == "__main__":
    unittest.main()
