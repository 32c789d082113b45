"""What ``sidestep init`` makes of inventories and lists: hosts as a fleet file has them, the rest with its reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.init import ansible, hostlist
from sidestep.autopilot.init.draft import Draft, Found, told, write
from sidestep.fleet.config import parse_fleet
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec

INI = """\
# comment
lone.example
[web]
web[01:03].example ansible_port=2222   # the farm
odd[1:5:2] ansible_host='10.0.1.9'
[db]
db-[a:b] ansible_ssh_private_key_file="~/.ssh/the key"
fd00::7
mail.example:2200
[prod:children]
web
db
[prod:vars]
ansible_user = ops
ansible_ssh_common_args='-o ProxyJump=jump@bastion:22 -o Foo=bar'
[db:vars]
ansible_user=dba
[all:vars]
ansible_user=everybody
http_port=80
"""


def fleet(draft: Draft) -> FleetSpec:
    return parse_fleet(write(draft, "x", "here"), "f.toml")


def ini(text: str) -> Draft:
    return ansible.draft_of(ansible.read_ini(text, "inv"))


def test_an_ini_inventory_keeps_hosts_groups_and_how_they_are_reached() -> None:
    draft = ini(INI)
    spec = fleet(draft)
    seen = {h.name: (h.address, h.port, h.user, h.identity, h.jump) for h in spec.hosts}
    jump = "jump@bastion:22"
    assert seen == {
        "lone.example": ("lone.example", 22, "everybody", "", ""),
        **{f"web0{n}.example": (f"web0{n}.example", 2222, "ops", "", jump) for n in (1, 2, 3)},
        "odd1": ("10.0.1.9", 22, "ops", "", jump),
        "db-a": ("db-a", 22, "dba", "~/.ssh/the key", jump),
        "db-b": ("db-b", 22, "dba", "~/.ssh/the key", jump),
        "fd00-7": ("fd00::7", 22, "dba", "", jump),
        "mail.example": ("mail.example", 2200, "dba", "", jump),
    }
    assert spec.host("db-a").groups == ("db", "prod")
    assert spec.host("lone.example").groups == ()
    said = "\n".join(told(draft, "inv"))
    assert "is another name of a host that is taken: odd3 (is odd1), odd5 (is odd1)" in said
    assert "further ssh arguments" in said
    assert "fd00::7 → fd00-7" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("h ansible_connection=winrm", "is not reached over SSH"),
        ("h ansible_host={{ip}}", "template"),
        ("h ansible_port={{ip}}", "template"),
        ("h ansible_password=hunter2", "without its password"),
        ("h ansible_become=true", "without become"),
        ("h ansible_host='a b'", "its address must be one word"),
        ("h ansible_host=-oProxyCommand=x", "its address must be one word"),
        ("h ansible_port=99999", "its port must be between"),
        ("h ansible_user='-x'", "its user must be one word"),
        ("h ansible_magic=1", "variables without a meaning here: ansible_magic"),
        (f"{'h' * 70} ansible_host=a", "its name cannot be used"),
    ],
)
def test_what_cannot_be_taken_over_is_said_with_its_reason_and_no_secret(line: str, said: str) -> None:
    draft = ini(f"ok\n{line}\n")
    text = "\n".join(told(draft, "inv"))
    assert said in text
    assert "hunter2" not in text + write(draft, "x", "inv")
    assert fleet(draft).hosts[0].name == "ok"


@pytest.mark.parametrize(
    "text",
    ["[web\n", "h x y\n", "[g:vars]\nnothing\n", "h 'open\n", "h[1:\n", "h[1:999999999]\n", "a: {b: c}\n  - d\n"],
)
def test_a_line_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"inv:\d+: "):
        ini(text)


def test_groups_in_a_circle_are_refused() -> None:
    with pytest.raises(UsageError, match="circle"):
        ini("[a:children]\nb\n[b:children]\na\n[a]\nh\n")
    with pytest.raises(UsageError, match="circle"):
        ini("h\n[a:children]\na\n")


def test_the_list_that_ansible_prints_is_read_the_same_way() -> None:
    tree = {
        "_meta": {"hostvars": {"w1": {"ansible_host": "10.0.0.1", "ansible_port": 22}, "w2": {"ansible_user": "ops"}}},
        "all": {"children": ["ungrouped", "web"]},
        "web": {"hosts": ["w1", "w2"]},
        "ungrouped": {"hosts": ["w3"]},
    }
    spec = fleet(ansible.draft_of(ansible.read_list(tree, "inv")))
    assert [(h.name, h.address, h.user, h.groups) for h in spec.hosts] == [
        ("w1", "10.0.0.1", "", ("web",)),
        ("w2", "w2", "ops", ("web",)),
        ("w3", "w3", "", ()),
    ]


KEYS = st.sampled_from(["_meta", "hostvars", "hosts", "vars", "children", "all", "g"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_no_json_at_all_makes_anything_but_a_fleet_or_a_usage_error(tree: object) -> None:
    try:
        draft = ansible.draft_of(ansible.read_list(json.loads(json.dumps(tree)), "inv"))
    except UsageError:
        return
    if draft.hosts:
        fleet(draft)


@given(st.text(alphabet="ab01[]:=#;'\" -\n.{}", max_size=80))
def test_no_text_at_all_makes_anything_but_a_fleet_or_a_usage_error(text: str) -> None:
    for read in (ini, hostlist.read):
        try:
            draft = read(text)
        except UsageError:
            continue
        if draft.hosts:
            fleet(draft)


def test_a_list_has_names_addresses_ports_users_ranges_and_comments() -> None:
    draft = hostlist.read(
        "# my hosts\n\nweb1\ndb 10.0.0.9:2222 # the old one\nops@mail.example:2200\nv6 [fd00::1]:22\nv6b fd00::2\n"
        "r[1-2] 10.0.1.[1-2]\nbad[1-3] 10.0.2.[1-2]\na b c\nagain 10.0.0.9:2222\n-x 1.2.3.4\n"
    )
    assert [(h.name, h.address, h.port, h.user) for h in fleet(draft).hosts] == [
        ("web1", "web1", 22, ""),
        ("db", "10.0.0.9", 2222, ""),
        ("mail.example", "mail.example", 2200, "ops"),
        ("v6", "fd00::1", 22, ""),
        ("v6b", "fd00::2", 22, ""),
        ("r1", "10.0.1.1", 22, ""),
        ("r2", "10.0.1.2", 22, ""),
        ("x", "1.2.3.4", 22, ""),
    ]
    said = "\n".join(told(draft, "list"))
    assert "3 names but 2 addresses: line 9" in said
    assert "more than a name and an address" in said
    assert "again (is db)" in said


def test_what_all_hosts_share_is_written_once() -> None:
    draft = Draft()
    for n in (1, 2):
        draft.add(Found(name=f"w{n}", address=f"a{n}", port=2222, user="ops", identity="~/k", jump="j"))
    text = write(draft, "x", "here")
    assert text.count("ops") == text.count("2222") == text.count("~/k") == text.count('"j"') == 1
    assert [(h.port, h.user, h.jump) for h in fleet(draft).hosts] == [(2222, "ops", "j")] * 2
    assert fleet(draft).identity == "~/k"
