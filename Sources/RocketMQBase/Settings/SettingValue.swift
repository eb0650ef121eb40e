/// A type that a setting or a command-line option can have: it reads itself from text and writes itself back.
public protocol SettingValue: Sendable, Equatable {
    /// What the text must look like, to go into `must be …`: `a whole number`.
    static var form: String { get }
    /// `nil` when the text does not have the form. Spaces around it are already gone.
    init?(settingText: String)
    /// Text that `init(settingText:)` reads back as the same value.
    var settingText: String { get }
}

extension Int: SettingValue {
    public static var form: String { "a whole number" }
    public init?(settingText: String) { self.init(settingText) }
    public var settingText: String { String(self) }
}

extension Int64: SettingValue {
    public static var form: String { "a whole number" }
    public init?(settingText: String) { self.init(settingText) }
    public var settingText: String { String(self) }
}

extension Bool: SettingValue {
    public static var form: String { "true or false" }
    public init?(settingText: String) {
        switch settingText.lowercased() {
        case "true": self = true
        case "false": self = false
        default: return nil
        }
    }
    public var settingText: String { self ? "true" : "false" }
}

extension String: SettingValue {
    public static var form: String { "text" }
    public init?(settingText: String) { self = settingText }
    public var settingText: String { self }
}

/// A list, its elements separated by `;` as in `namesrvAddr`. Empty elements vanish.
extension Array: SettingValue where Element == String {
    public static var form: String { "a list separated by ;" }
    public init?(settingText: String) {
        self = settingText.split(separator: ";").map { trimmingBlanks($0) }.filter { !$0.isEmpty }
    }
    public var settingText: String { joined(separator: ";") }
}

/// A setting with a few named values: `FlushDiskType` and the like. Names are compared without regard to case.
public protocol NamedSettingValue: SettingValue, RawRepresentable, CaseIterable where RawValue == String {}

extension NamedSettingValue {
    public static var form: String {
        let names = allCases.map(\.rawValue)
        guard names.count > 1, let last = names.last else { return names.joined() }
        return "\(names.dropLast().joined(separator: ", ")) or \(last)"
    }
    public init?(settingText: String) {
        let lowercased = settingText.lowercased()
        guard let found = Self.allCases.first(where: { $0.rawValue.lowercased() == lowercased }) else { return nil }
        self = found
    }
    public var settingText: String { rawValue }
}

/// The text without blanks (space, tab, form feed, line ends) at both ends.
func trimmingBlanks(_ text: some StringProtocol) -> String {
    func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
    var rest = Substring(text).utf8
    while let first = rest.first, isBlank(first) { rest.removeFirst() }
    while let last = rest.last, isBlank(last) { rest.removeLast() }
    return String(Substring(rest))
}
