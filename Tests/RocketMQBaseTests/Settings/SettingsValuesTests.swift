import RocketMQBase
import Testing

private enum Sample {
    static let port = Setting("listenPort", default: 10911, bounds: 0...65535, "The port.")
    static let size = Setting("fileSize", default: Int64(1 << 30), bounds: 1...Int64.max, unit: .bytes, "The size.")
    static let enabled = Setting("autoCreate", default: true, changeable: true, "Whether.")
    static let flush = Setting("flushDiskType", default: FlushDiskType.asyncFlush, "When.")
    static let servers = Setting("namesrvAddr", default: [String](), "Where.")
    static let reserved = Setting("fileReservedTime", default: 72, bounds: 1...1000, unit: .hours, changeable: true, "How long.")
    static let least = Setting("least", default: 1, bounds: 1...100, changeable: true, "At most `fileReservedTime`.")
    static let path = Setting("storePath", default: "~/store", unit: .path, "Directory.")
    static let blackList = Setting("blackList", default: ["blackList"], changeable: true, "Not by request.")

    static let schema = SettingsSchema(
        program: "mqsample",
        groups: [
            SettingsGroup("Network", [port, servers]),
            SettingsGroup("Store", [size, enabled, flush, reserved, least, path]), SettingsGroup("Operation", [blackList]),
        ],
        withoutEffect: ["sendThreads": "there are no threads", "listenPort": "never shown: it is declared"],
        refused: ["aclEnable": "access control"],
        rules: [SettingsRule("least") { $0[least] <= $0[reserved] ? nil : "must not be above fileReservedTime" }])
}

@Suite struct SettingsValuesTests {
    private func load(_ text: String) -> (SettingsValues, [String]) {
        var values = SettingsValues(Sample.schema)
        let findings = values.apply(Array(text.utf8), source: "b.conf")
        return (values, findings.map { "\($0.severity): \($0)" })
    }

    @Test func `values of every type are read`() {
        let (values, findings) = load(
            "listenPort=20911 \nfileSize = 5000000000\nautoCreate=False\nflushDiskType=sync_flush\nnamesrvAddr= a:1; b:2 ;\n")
        #expect(findings == [])
        #expect(values[Sample.port] == 20911)
        #expect(values[Sample.size] == 5_000_000_000)
        #expect(values[Sample.enabled] == false)
        #expect(values[Sample.flush] == .syncFlush)
        #expect(values[Sample.servers] == ["a:1", "b:2"])
        #expect(values.origin(of: Sample.port) == .file("b.conf", line: 1))
        #expect(values[Sample.reserved] == 72)
        #expect(values.origin(of: Sample.reserved) == .builtIn)
    }

    @Test(arguments: [
        ("listenPort=70000", #"error: b.conf:1: listenPort must be a whole number from 0 to 65535, not "70000""#),
        ("\n\nlistenPort=", #"error: b.conf:3: listenPort must be a whole number from 0 to 65535, not """#),
        ("listenPort=10911 # port", #"error: b.conf:1: listenPort must be a whole number from 0 to 65535, not "10911 # port""#),
        ("fileSize=0", #"error: b.conf:1: fileSize must be a whole number of at least 1 (bytes), not "0""#),
        (
            "fileSize=99999999999999999999",
            #"error: b.conf:1: fileSize must be a whole number of at least 1 (bytes), not "99999999999999999999""#
        ),
        ("autoCreate=yes", #"error: b.conf:1: autoCreate must be true or false, not "yes""#),
        ("flushDiskType=SYNC", #"error: b.conf:1: flushDiskType must be ASYNC_FLUSH or SYNC_FLUSH, not "SYNC""#),
        (
            "aclEnable=true",
            "error: b.conf:1: aclEnable asks for access control, which mqsample does not have; take the line out to start without"
        ),
        ("listenport=1", "error: b.conf:1: unknown setting listenport, which looks like listenPort: correct it, or take the line out"),
        ("listen-port=1", "error: b.conf:1: unknown setting listen-port, which looks like listenPort: correct it, or take the line out"),
        ("LISTEN_PORT=1", "error: b.conf:1: unknown setting LISTEN_PORT, which looks like listenPort: correct it, or take the line out"),
        ("# c\nlistenPrt=1", "error: b.conf:2: unknown setting listenPrt, which looks like listenPort: correct it, or take the line out"),
        ("aclEnabel=true", "error: b.conf:1: unknown setting aclEnabel, which looks like aclEnable: correct it, or take the line out"),
        (#"x=\u1"#, #"error: b.conf:1: \u needs four hexadecimal digits after it"#),
    ])
    func `a bad value is an error with file, line and what is allowed`(text: String, finding: String) {
        let (values, findings) = load(text)
        #expect(findings == [finding])
        #expect(values.propertiesText() == SettingsValues(Sample.schema).propertiesText())
    }

    @Test(arguments: [
        ("# c\nlistenPotr1=1", "warning: b.conf:2: unknown setting listenPotr1; did you mean listenPort?"),
        ("sendThread=1", "warning: b.conf:1: unknown setting sendThread; did you mean sendThreads?"),
        ("zebra=1", "warning: b.conf:1: unknown setting zebra, and no known one has a name like it"),
        ("=1", "warning: b.conf:1: a value without a key before it"),
        ("sendThreads=16", "notice: b.conf:1: sendThreads has no effect here: there are no threads"),
        ("aclEnable=false", "notice: b.conf:1: aclEnable has no effect here: mqsample has no access control"),
        ("least=2\nleast=3", "warning: b.conf:2: least stands in line 1 already; this line counts"),
    ])
    func `a start goes on with a line about unknown keys, and those without effect`(text: String, finding: String) {
        #expect(load(text).1 == [finding])
    }

    @Test func `all findings come at once, in the order of the lines`() {
        let (_, findings) = load("listenPort=x\nlistPotr=1\nautoCreate=1\n")
        #expect(findings.map { $0.prefix { $0 != " " } } == ["error:", "warning:", "error:"])
    }

    @Test func `rules over several settings name the line`() {
        let (values, findings) = load("fileReservedTime=5\nleast=6")
        #expect(findings == [])
        #expect(values.violatedRules().map(\.description) == ["b.conf:2: least must not be above fileReservedTime"])
    }

    @Test func `the option counts over the file`() throws {
        var (values, _) = load("listenPort=1")
        try values.set(Sample.port, to: 2, origin: .option("--listenPort"))
        #expect(values[Sample.port] == 2)
        #expect(throws: SettingsFinding.self) { try values.set(Sample.port, to: -1, origin: .option("--listenPort")) }
        #expect {
            try values.set("listenPort", text: "x", origin: .environment("PORT"))
        } throws: {
            "\($0)" == #"environment PORT: listenPort must be a whole number from 0 to 65535, not "x""#
        }
        #expect(values[Sample.port] == 2)
    }

    @Test func `the home directory is put in`() {
        var values = SettingsValues(Sample.schema)
        values.expandHome("/home/me")
        #expect(values[Sample.path] == "/home/me/store")
        var (other, _) = load("storePath=/data/~x")
        other.expandHome("/home/me")
        #expect(other[Sample.path] == "/data/~x")
    }

    @Test(arguments: [SettingsValues.PrintStyle.plain, .marked, .explained])
    func `what is printed reads back`(style: SettingsValues.PrintStyle) throws {
        var (values, _) = load("listenPort=1\nautoCreate=false\nflushDiskType=SYNC_FLUSH\nnamesrvAddr=a:1;b:2\nleast=2")
        try values.set(Sample.path, to: "/tmp/ö\\x\n#", origin: .chosen("for\ntest=1"))
        let printed = values.propertiesText(style)
        var again = SettingsValues(Sample.schema)
        #expect(again.apply(Array(printed.utf8), source: "printed").isEmpty)
        #expect(again.propertiesText() == values.propertiesText())
        #expect(again[Sample.path] == "/tmp/ö\\x\n#")
        #expect(printed.split(separator: "\n").filter { !$0.hasPrefix("#") }.count == 9)
    }

    @Test func `settings that are not the default are marked`() {
        let printed = load("fileReservedTime=48").0.propertiesText(.marked)
        #expect(printed.contains("\n# changed; default 72; from b.conf:1\nfileReservedTime=48\n"))
        #expect(printed.components(of: "# changed") == 1)
        #expect(printed.contains("# Network\nlistenPort=10911\n"))
    }

    // MARK: Requests

    private func update(_ text: String, forbidden: Set<String> = []) throws -> SettingsUpdate {
        try load("fileReservedTime=48").0
            .updated(with: PropertiesText(text, source: "request"), forbidden: forbidden, peer: "10.0.0.9:1234")
    }

    @Test func `a request changes what may change while running`() throws {
        let update = try update("fileReservedTime=24\nautoCreate=true\nlistenPort=10911\n")
        #expect(update.changed == [.init(name: "fileReservedTime", old: "48", new: "24")])
        #expect(update.refused.isEmpty && update.remark == nil)
        #expect(update.values[Sample.reserved] == 24)
        #expect(update.values.origin(of: Sample.reserved) == .request("10.0.0.9:1234"))
    }

    @Test func `a request is told what it could not change`() throws {
        let update = try update(
            "listenPort=1\nfileReservedTime=x\nnope=1\nsendThreads=1\nblackList=\nautoCreate=false\nleast=60\naclEnable=true",
            forbidden: ["blackList"])
        #expect(update.changed.map(\.name) == ["autoCreate"])
        #expect(update.refused.map(\.name) == ["listenPort", "fileReservedTime", "nope", "sendThreads", "blackList", "least", "aclEnable"])
        #expect(
            update.refused.map(\.reason) == [.needsRestart, .badValue, .unknown, .withoutEffect, .forbidden, .badValue, .withoutEffect])
        #expect(update.remark?.contains("fileReservedTime must be a whole number from 1 to 1000 (hours), not \"x\"") == true)
        #expect(update.values[Sample.port] == 10911)
    }
}

extension String {
    func components(of part: String) -> Int { self.split(separator: part, omittingEmptySubsequences: false).count - 1 }
}
