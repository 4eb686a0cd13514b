-- What a few hundred lines of ordinary Lua use: closures, metatables, coroutines, string patterns,
-- formatting, sorting, integer and float arithmetic, error handling, garbage collection.

local function heading(text)
  print(("== %s %s"):format(text, ("="):rep(40 - #text)))
end

-- Arithmetic ---------------------------------------------------------------------------------

heading("arithmetic")
print(7 // 2, -7 // 2, 7 % -3, -7 % 3, 7 / 2, 2 ^ 10)
print(1 << 62, 1 << 63, 1 << 64, ~0, 0xff ~ 0x0f, "10" + 5)
print(math.maxinteger + 1 == math.mininteger, math.type(3), math.type(3.0), 3 == 3.0)
print(1e15, 1e16, 2 ^ 53, 0.1, 1 / 3, 100 / 3, -0.0, 1e100)
print(math.huge, -math.huge, math.pi, math.sqrt(2), math.floor(-3.5), math.ceil(-3.5))
print(("%d %5d|%-5d|%05d %x %X %o %c"):format(42, 42, 42, 42, 255, 255, 8, 65))
print(("%.3f %10.2f|%-10.2f|%e %g %g %a"):format(math.pi, math.pi, math.pi, 12345.678, 1e20, 0.0001, 1))
print(("%s %q %10s|%-10s|%.2s"):format("text", 'a "quoted"\n\0text', "right", "left", "cut"))
print(tostring(1e300 * 1e10), tostring(-(0 / 0)):gsub("-", ""), math.tointeger(3.0), 5 // 0.0)
print(tonumber("0x1p4"), tonumber("  12  "), tonumber("1e1"), tonumber("z", 36), tonumber("8", 8))
print(math.max(3, 9, 2), math.min(3, 9, 2), math.abs(-4), math.fmod(-7, 3), math.ult(1, -1))

-- Primes and numbers -------------------------------------------------------------------------

heading("sieve")
local function primes(limit)
  local composite, found = {}, {}
  for n = 2, limit do
    if not composite[n] then
      found[#found + 1] = n
      for multiple = n * n, limit, n do
        composite[multiple] = true
      end
    end
  end
  return found
end
local list = primes(20000)
print(#list, list[1], list[100], list[#list])

local function fibonacci(n)
  local a, b = 0, 1
  for _ = 1, n do
    a, b = b, a + b
  end
  return a
end
print(fibonacci(10), fibonacci(50), fibonacci(90))

local function ackermann(m, n)
  if m == 0 then
    return n + 1
  elseif n == 0 then
    return ackermann(m - 1, 1)
  end
  return ackermann(m - 1, ackermann(m, n - 1))
end
print(ackermann(2, 6))

-- Classes ------------------------------------------------------------------------------------

heading("classes")
local Vector = {}
Vector.__index = Vector
function Vector.new(x, y) return setmetatable({ x = x, y = y }, Vector) end
function Vector.__add(a, b) return Vector.new(a.x + b.x, a.y + b.y) end
function Vector.__mul(a, b)
  if type(a) == "number" then
    return Vector.new(a * b.x, a * b.y)
  end
  return a.x * b.x + a.y * b.y
end
function Vector.__eq(a, b) return a.x == b.x and a.y == b.y end
function Vector.__lt(a, b) return a.x < b.x end
function Vector.__len() return 2 end
function Vector.__tostring(v) return ("(%g, %g)"):format(v.x, v.y) end
function Vector.__call(v, name) return v[name] end
function Vector.__concat(a, b) return tostring(a) .. tostring(b) end
local a, b = Vector.new(1, 2), Vector.new(3, 4.5)
print(tostring(a + b), a * b, tostring(2 * a), a == Vector.new(1, 2), a < b, #a, a("y"), a .. b)

local Animal = {}
Animal.__index = Animal
function Animal.new(class, name) return setmetatable({ name = name }, class) end
function Animal:speak() return self.name .. " says " .. self:sound() end
local Dog = setmetatable({}, { __index = Animal })
Dog.__index = Dog
function Dog:sound() return "woof" end
local Cat = setmetatable({}, { __index = Animal })
Cat.__index = Cat
function Cat:sound() return "meow" end
for _, animal in ipairs({ Animal.new(Dog, "Rex"), Animal.new(Cat, "Tom") }) do
  print(animal:speak())
end

local log = {}
local proxy = setmetatable({}, {
  __index = function(_, key) log[#log + 1] = "get " .. key; return #key end,
  __newindex = function(_, key, value) log[#log + 1] = "set " .. key .. "=" .. value end,
})
proxy.one = 1
local _ = proxy.three
proxy.two = "zwei"
print(table.concat(log, "; "))

-- Closures and coroutines --------------------------------------------------------------------

heading("coroutines")
local function counter()
  local count = 0
  return function() count = count + 1; return count end
end
local first, second = counter(), counter()
print(first(), first(), second(), first())

local function permutations(items)
  local function generate(n)
    if n == 0 then
      coroutine.yield(table.concat(items))
    else
      for i = 1, n do
        items[n], items[i] = items[i], items[n]
        generate(n - 1)
        items[n], items[i] = items[i], items[n]
      end
    end
  end
  return coroutine.wrap(function() generate(#items) end)
end
local all = {}
for each in permutations({ "a", "b", "c", "d" }) do
  all[#all + 1] = each
end
print(#all, all[1], all[#all])

local function producer(n)
  return coroutine.create(function()
    for i = 1, n do
      local reply = coroutine.yield(i * i)
      if reply == "stop" then
        return "stopped at " .. i
      end
    end
    return "ran out"
  end)
end
local routine = producer(10)
print(coroutine.resume(routine))
print(coroutine.resume(routine, "more"))
print(coroutine.resume(routine, "stop"))
print(coroutine.resume(routine))
print(coroutine.status(routine))

-- Strings ------------------------------------------------------------------------------------

heading("strings")
local sample = "The quick brown fox jumps over the lazy dog"
print(#sample, sample:upper(), sample:sub(5, 9), sample:sub(-3), sample:reverse():sub(1, 4))
print(sample:find("fox"), sample:match("(%w+) (%w+)$"), sample:gsub("%w+", string.len))
local frequency = {}
for letter in sample:lower():gmatch("%a") do
  frequency[letter] = (frequency[letter] or 0) + 1
end
local letters = {}
for letter in pairs(frequency) do
  letters[#letters + 1] = letter
end
table.sort(letters, function(x, y)
  if frequency[x] ~= frequency[y] then
    return frequency[x] > frequency[y]
  end
  return x < y
end)
for i = 1, 5 do
  io.write(letters[i], "=", frequency[letters[i]], " ")
end
io.write("\n")
print(("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
print(("2024-02-29"):gsub("(%d+)-(%d+)-(%d+)", "%3.%2.%1"))
print(("%bxy"):len(), ("f(a(b)c)d"):match("%b()"), ("THE (quick) fox"):find("%((%a+)%)"))
print(string.byte("ABC", 1, -1), string.char(72, 101, 108, 108, 111), ("x"):rep(3, "-"))
print(string.pack("<i4", 100):byte(1, -1), (string.unpack("<i4", "\100\0\0\0")))
print(utf8.char(228, 8364, 128512), utf8.len("äöü€"), #"äöü€")
for position, code in utf8.codes("aä€") do
  io.write(position, ":", code, " ")
end
print()

-- Tables -------------------------------------------------------------------------------------

heading("tables")
local numbers = {}
for i = 1, 100 do
  numbers[i] = (i * 37) % 101
end
table.sort(numbers)
print(numbers[1], numbers[50], numbers[100], select("#", table.unpack(numbers, 1, 10)))
table.insert(numbers, 1, "front")
table.insert(numbers, "back")
print(numbers[1], numbers[#numbers], table.remove(numbers), table.remove(numbers, 1), #numbers)
print(table.concat(table.move({ 1, 2, 3 }, 1, 3, 3, { 9, 9 }), ","))
local packed = table.pack(1, nil, 3)
print(packed.n, packed[1], packed[2], packed[3])

local function quicksort(array, low, high)
  low, high = low or 1, high or #array
  if low < high then
    local pivot, i = array[high], low
    for j = low, high - 1 do
      if array[j] <= pivot then
        array[i], array[j] = array[j], array[i]
        i = i + 1
      end
    end
    array[i], array[high] = array[high], array[i]
    quicksort(array, low, i - 1)
    quicksort(array, i + 1, high)
  end
  return array
end
local scrambled, seed = {}, 12345
for i = 1, 500 do
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  scrambled[i] = seed % 1000
end
quicksort(scrambled)
local ordered = true
for i = 2, #scrambled do
  ordered = ordered and scrambled[i - 1] <= scrambled[i]
end
print(ordered, scrambled[1], scrambled[250], scrambled[500])

local function serialize(value, indent)
  indent = indent or ""
  if type(value) ~= "table" then
    return ("%q"):format(value)
  end
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(x, y) return tostring(x) < tostring(y) end)
  local lines = {}
  for _, key in ipairs(keys) do
    lines[#lines + 1] = indent .. "  " .. tostring(key) .. ": " .. serialize(value[key], indent .. "  ")
  end
  return "{\n" .. table.concat(lines, "\n") .. "\n" .. indent .. "}"
end
print(serialize({ name = "tree", size = 2.5, flags = { true, false }, nested = { deep = { x = 1 } } }))

-- A matrix and a game of life ----------------------------------------------------------------

heading("life")
local width, height, grid = 20, 8, {}
for y = 1, height do
  grid[y] = {}
  for x = 1, width do
    grid[y][x] = (x * 7 + y * 13) % 5 == 0
  end
end
local function step(old)
  local new = {}
  for y = 1, height do
    new[y] = {}
    for x = 1, width do
      local alive = 0
      for dy = -1, 1 do
        for dx = -1, 1 do
          local row = old[(y + dy - 1) % height + 1]
          if (dx ~= 0 or dy ~= 0) and row[(x + dx - 1) % width + 1] then
            alive = alive + 1
          end
        end
      end
      new[y][x] = alive == 3 or (old[y][x] and alive == 2)
    end
  end
  return new
end
for _ = 1, 10 do
  grid = step(grid)
end
for y = 1, height do
  local row = {}
  for x = 1, width do
    row[x] = grid[y][x] and "#" or "."
  end
  print(table.concat(row))
end

-- Errors and resources -----------------------------------------------------------------------

heading("errors")
print(pcall(error, "plain"))
print(pcall(error, { code = 7 }) == false, select(2, pcall(error, { code = 7 })).code)
print(select(2, pcall(function() local x = nil; return x.field end)))
print(select(2, pcall(function() return 1 + {} end)))
print(select(2, pcall(function() return #5 end)))
print(xpcall(function() error("inner", 0) end, function(message) return "handled " .. message end))
do
  local order = {}
  do
    local outer <close> = setmetatable({}, { __close = function() order[#order + 1] = "outer" end })
    local inner <close> = setmetatable({}, { __close = function() order[#order + 1] = "inner" end })
    order[#order + 1] = "body"
  end
  print(table.concat(order, " "))
end
local finalized = 0
for _ = 1, 100 do
  setmetatable({}, { __gc = function() finalized = finalized + 1 end })
end
collectgarbage()
collectgarbage()
print("finalized", finalized)
local weak = setmetatable({}, { __mode = "k" })
weak[{}] = "gone"
local kept = {}
weak[kept] = "kept"
collectgarbage()
local count = 0
for _ in pairs(weak) do
  count = count + 1
end
print("weak entries left", count)
goto done
print("skipped")
::done::

-- Files and Go -------------------------------------------------------------------------------

heading("outside")
local name = go_temporary("lines.txt")
local file = assert(io.open(name, "w"))
for i = 1, 5 do
  file:write(("line %d of the file\n"):format(i))
end
file:close()
local lines, bytes = 0, 0
for line in io.lines(name) do
  lines, bytes = lines + 1, bytes + #line
end
print(lines, bytes)
file = assert(io.open(name))
print(file:seek("end"), file:seek("set", 5), file:read("n"), file:read("l"), file:read(4))
file:close()
print(os.remove(name), io.open(name) == nil)
print(os.date("!%Y-%m-%d %H:%M:%S", 86400 * 365), os.time({ year = 2001, month = 1, day = 1, hour = 12 }) > 0)
print(go_sort("pear", "apple", "fig", "date"))
print(pcall(go_fail, 1, 2.5, "three"))
local chunk = assert(load("local x = ... return x * 2"))
print(chunk(21), load("return +"))
print(#string.dump(chunk) > 50, assert(load(string.dump(chunk)))(4))
