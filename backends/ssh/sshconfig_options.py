"""What is done with each option of ssh_config: used, refused or knowingly ignored.

Nothing is ignored by accident: a keyword in none of the lists is an error. Refused is what
would change whom we trust or how a host is reached, and that we do not do. Sources:
ssh_config(5) of OpenSSH 9.2 to 10.0, and the deprecated keywords of its readconf.c.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Refusal(Struct, frozen=True):
    """A refused option: the values that change nothing, and what to do instead."""

    harmless: frozenset[str]
    remedy: str
    #: the distribution's own file may say it without being asked
    stock: bool = False


NO: Final = frozenset({"no", "false", "off"})
NONE: Final = frozenset({"none"})
_KEYS_ONLY: Final = "sidestep logs in with public keys only; put the option into a block that leaves the fleet out"
_OUR_LIST: Final = "leave it out for the fleet's hosts; sidestep's own list holds only sound algorithms"

USED: Final = frozenset(
    """
    hostname port user identityfile certificatefile identitiesonly identityagent proxyjump hostkeyalias
    userknownhostsfile globalknownhostsfile connecttimeout serveraliveinterval serveralivecountmax ciphers
    kexalgorithms macs hostkeyalgorithms addressfamily ignoreunknown
    """.split()  # noqa: SIM905 - a list of words
)

REFUSED: Final[dict[str, Refusal]] = {
    "stricthostkeychecking": Refusal(
        frozenset({"yes", "true", "ask"}), "remove it: unknown hosts are recorded with sidestep trust HOST, once"
    ),
    "proxycommand": Refusal(NONE, "write ProxyJump HOST, which reaches the same hosts through a verified connection"),
    "proxyusefdpass": Refusal(NO, "write ProxyJump HOST"),
    "knownhostscommand": Refusal(NONE, "write the keys to a file and name it in UserKnownHostsFile"),
    "revokedhostkeys": Refusal(NONE, "write the revoked keys to a known_hosts file as @revoked lines"),
    "verifyhostkeydns": Refusal(NO, "record the keys with sidestep trust HOST"),
    "nohostauthenticationforlocalhost": Refusal(NO, "record the key with sidestep trust localhost"),
    "canonicalizehostname": Refusal(NO | NONE, "write the full name of the host in the fleet file"),
    "bindaddress": Refusal(frozenset(), "set the source address in the routing table"),
    "bindinterface": Refusal(frozenset(), "set the interface in the routing table"),
    "pkcs11provider": Refusal(NONE, "load the token into ssh-agent: ssh-add -s PROVIDER"),
    "smartcarddevice": Refusal(NONE, "load the token into ssh-agent: ssh-add -s PROVIDER"),
    "securitykeyprovider": Refusal(NONE | {"internal"}, "load the security key into ssh-agent"),
    "gssapiauthentication": Refusal(NO, _KEYS_ONLY, stock=True),
    "gssapikeyexchange": Refusal(NO, _KEYS_ONLY),
    "gssapidelegatecredentials": Refusal(NO, _KEYS_ONLY),
    "gssapitrustdns": Refusal(NO, _KEYS_ONLY),
    "hostbasedauthentication": Refusal(NO, _KEYS_ONLY),
    "pubkeyauthentication": Refusal(frozenset({"yes", "true", "unbound", "host-bound"}), _KEYS_ONLY),
    "dsaauthentication": Refusal(frozenset({"yes", "true"}), _KEYS_ONLY),
    "pubkeyacceptedalgorithms": Refusal(frozenset(), _OUR_LIST),
    "pubkeyacceptedkeytypes": Refusal(frozenset(), _OUR_LIST),
    "casignaturealgorithms": Refusal(frozenset(), _OUR_LIST),
    "requiredrsasize": Refusal(frozenset(), "use Ed25519 keys, and leave the option out for the fleet's hosts"),
}

#: no influence on who is trusted and on what is reached, or about people at a terminal; sidestep never forwards
#: anything, asks nothing, runs no local command, writes no known_hosts unasked, and compresses nothing
IGNORED: Final = frozenset(
    """
    addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots
    canonicalizepermittedcnames challengeresponseauthentication channeltimeout checkhostip clearallforwardings
    compression connectionattempts controlmaster controlpath controlpersist dynamicforward enableescapecommandline
    enablesshkeysign escapechar exitonforwardfailure fingerprinthash forkafterauthentication forwardagent forwardx11
    forwardx11timeout forwardx11trusted gatewayports gssapiclientidentity gssapikexalgorithms
    gssapirenewalforcesrekey gssapiserveridentity hashknownhosts hostbasedacceptedalgorithms hostbasedkeytypes
    ipqos kbdinteractiveauthentication kbdinteractivedevices localcommand localforward loglevel logverbose
    numberofpasswordprompts obscurekeystroketiming passwordauthentication permitlocalcommand permitremoteopen
    rekeylimit remotecommand remoteforward requesttty sendenv sessiontype setenv skeyauthentication stdinnull
    streamlocalbindmask streamlocalbindunlink syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys
    usekeychain visualhostkey warnweakcrypto xauthlocation

    afstokenpassing cipher compressionlevel fallbacktorsh globalknownhostsfile2 kerberosauthentication
    kerberostgtpassing keepalive protocol rhostsauthentication rhostsrsaauthentication rsaauthentication
    tisauthentication useprivilegedport userknownhostsfile2 useroaming usersh
    """.split()  # noqa: SIM905 - a list of words
)

#: checked by the caller, because the answer lies in a list: it must contain publickey
PREFERRED: Final = "preferredauthentications"
#: values that go to the end of the line, blanks and all
REST: Final = frozenset({"proxycommand", "knownhostscommand", "localcommand", "remotecommand"})
#: keywords that hold several words; others with more than one are an error, as they are to ssh
SEVERAL: Final = frozenset(
    """
    userknownhostsfile globalknownhostsfile ignoreunknown sendenv setenv ipqos canonicaldomains
    canonicalizepermittedcnames localforward remoteforward dynamicforward rekeylimit permitremoteopen logverbose
    controlpersist channeltimeout include
    """.split()  # noqa: SIM905 - a list of words
)
#: keywords of which every line counts
EVERY: Final = frozenset({"identityfile", "certificatefile"})
#: the way to the host is one choice, whichever of the two is said first
PROXY: Final = frozenset({"proxyjump", "proxycommand"})
