// Reads arrays of numbers out of JSON straight into floats: the same floats as by way of ``JSONValue``, in a tenth of
// the time, as servers are sent little else.

/// Numbers as an object has them.
package enum JSONFloats: Sendable, Equatable {
  /// `[1, 2]`.
  case row([Float])
  /// `[[1, 2], [3, 4]]`.
  case rows([[Float]])
}

/// A reader of such arrays and of nothing else.
///
/// What it does not know (other values, numbers beyond float32, errors) it leaves to ``JSONReader``, from the beginning of
/// the array.
struct JSONFloatReader {
  private let bytes: UnsafeRawBufferPointer
  /// 10 to the power of `least...`.
  private let powers: UnsafeBufferPointer<Double>
  private var next: Int

  /// The last powers of ten that have no rounding.
  private static let exact = 22
  private static let (least, most) = (-60, 38)
  private static let table = (least...most).map { Double("1e\(abs($0))") ?? .nan }

  /// Reads an array of numbers, or of arrays of numbers.
  ///
  /// - Parameters:
  ///   - bytes: A text.
  ///   - next: The byte at which a value begins; moved behind the array that was read.
  /// - Returns: Its numbers; nil where it is not such an array.
  static func array(in bytes: [UInt8], at next: inout Int) -> JSONFloats? {
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe table.withUnsafeBufferPointer { powers in
        var reader = unsafe JSONFloatReader(bytes: bytes, powers: powers, next: next)
        guard reader.take(UInt8(ascii: "[")) else { return nil }
        reader.skipSpace()
        var read: JSONFloats
        if reader.current == UInt8(ascii: "[") {
          guard let rows = reader.rows() else { return nil }
          read = .rows(rows)
        } else {
          guard let row = reader.row() else { return nil }
          read = .row(row)
        }
        next = reader.next
        return read
      }
    }
  }

  private var current: UInt8? { next < bytes.count ? unsafe bytes[next] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard current == byte else { return false }
    next += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { next += 1 }
  }

  /// The rest of an array of arrays.
  private mutating func rows() -> [[Float]]? {
    var rows: [[Float]] = []
    while true {
      guard take(UInt8(ascii: "[")), let row = row() else { return nil }
      rows.append(row)
      skipSpace()
      if take(UInt8(ascii: "]")) { return rows }
      guard take(UInt8(ascii: ",")) else { return nil }
      skipSpace()
    }
  }

  /// The rest of an array of numbers.
  private mutating func row() -> [Float]? {
    var row: [Float] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return row }
    while true {
      skipSpace()
      guard let number = number() else { return nil }
      row.append(number)
      skipSpace()
      if take(UInt8(ascii: "]")) { return row }
      guard take(UInt8(ascii: ",")) else { return nil }
    }
  }

  // MARK: Numbers

  private var digit: UInt64? {
    guard let byte = current, byte &- 0x30 < 10 else { return nil }
    return UInt64(byte &- 0x30)
  }

  /// A number as `Float(Double(text))`, or `Float(Int64(text))` where it is whole, would have it.
  private mutating func number() -> Float? {
    let first = next
    let isNegative = take(UInt8(ascii: "-"))
    // The first 19 digits that count, and the power of ten that they are to be multiplied with.
    var (mantissa, digitCount, power): (UInt64, Int, Int) = (0, 0, 0)
    if !take(UInt8(ascii: "0")) {
      guard digit != nil else { return nil }
      while let digit {
        if digitCount < 19 { (mantissa, digitCount) = (mantissa &* 10 &+ digit, digitCount + 1) } else { power += 1 }
        next += 1
      }
    }
    var isWhole = true
    if take(UInt8(ascii: ".")) {
      isWhole = false
      guard digit != nil else { return nil }
      if mantissa == 0 { while take(UInt8(ascii: "0")) { power -= 1 } }
      while digitCount <= 11, let eight = eightDigits {
        (mantissa, digitCount) = (mantissa &* 100_000_000 &+ eight, digitCount + 8)
        next += 8
        power -= 8
      }
      while let digit {
        if digitCount < 19 {
          (mantissa, digitCount) = (mantissa &* 10 &+ digit, digitCount + 1)
          power -= 1
        }
        next += 1
      }
    }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      isWhole = false
      let isSmall = take(UInt8(ascii: "-"))
      if !isSmall { _ = take(UInt8(ascii: "+")) }
      guard digit != nil else { return nil }
      var exponent = 0
      while let digit {
        // More is beyond every float, and is told so by who reads it slowly.
        exponent = min(exponent * 10 + Int(digit), 100_000)
        next += 1
      }
      power += isSmall ? -exponent : exponent
    }
    if isWhole {
      // A whole number that is one of 64 bits is rounded once.
      return digitCount < 19 ? Float(isNegative ? -Int64(mantissa) : Int64(mantissa)) : slow(first, isWhole: true)
    }
    if let value = unsafe Self.value(mantissa, power, powers) { return isNegative ? -value : value }
    return slow(first, isWhole: false)
  }

  /// The next eight bytes where they are digits.
  private var eightDigits: UInt64? {
    guard next + 8 <= bytes.count else { return nil }
    var word = UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: next, as: UInt64.self))
    let high: UInt64 = 0xF0F0_F0F0_F0F0_F0F0
    guard word & high | ((word &+ 0x0606_0606_0606_0606) & high) >> 4 == 0x3333_3333_3333_3333 else { return nil }
    word &-= 0x3030_3030_3030_3030
    word = word &* 10 &+ word >> 8  // pairs
    let pairs: UInt64 = 0x0000_00FF_0000_00FF
    let upper = (word & pairs) &* 0x000F_4240_0000_0064
    let lower = (word >> 16 & pairs) &* 0x0000_2710_0000_0001
    return (upper &+ lower) >> 32
  }

  /// Mantissa times a power of ten, rounded to a double and that to a float; nil where that is not certain.
  ///
  /// One multiplication or division of two doubles that are off by half a unit in their last place at most (one of a
  /// mantissa of which digits were left out by little more) comes within four units of the right one. Where all doubles so
  /// near become one float, that is the one; else, once in some million numbers, it has to be computed exactly.
  private static func value(_ mantissa: UInt64, _ power: Int, _ powers: UnsafeBufferPointer<Double>) -> Float? {
    if mantissa == 0 { return 0 }
    guard power >= least, power <= most else { return nil }
    let factor = unsafe powers[power - least]
    let near = power < 0 ? Double(mantissa) / factor : Double(mantissa) * factor
    if mantissa < 1 << 53, abs(power) <= exact { return finite(Float(near)) }
    let (low, high) = (Float(Double(bitPattern: near.bitPattern - 8)), Float(Double(bitPattern: near.bitPattern + 8)))
    return low == high ? finite(low) : nil
  }

  private static func finite(_ value: Float) -> Float? { value.isFinite ? value : nil }

  private func slow(_ first: Int, isWhole: Bool) -> Float? {
    let text = unsafe String(decoding: bytes[first..<next], as: UTF8.self)
    if isWhole, let value = Int64(text) { return Float(value) }
    guard let value = Double(text) else { return nil }
    return Self.finite(Float(value))
  }
}
