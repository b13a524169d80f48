# What stands in for functions of jq that are written in jq and call others
# that must be charged. Names that begin with __ are ours; all others are jq's.

def __assign(p; $x): __editor as $e | reduce path(p) as $q (.; __set($q; $x; $e));
def __modify(p; f):
  __editor as $e |
  reduce path(p) as $p (.;
    label $out |
    (__set($p; __get($p; $e) | f; $e) | ., break $out), __drop($p; $e)) |
  __finish($e);

# In a reduce (see reduce.go), with the editor of all of it.
def __assign_in(p; $x; $e): reduce path(p) as $q (.; __set($q; $x; $e));
def __update_in(p; f; $e): reduce path(p) as $q (.; __set($q; __peek($q) | f; $e));

def __range_to($end): __range(0; $end; 1);
def __range_from($start; $end): __range($start; $end; 1);
def __range_by($start; $end; $step): __range($start; $end; $step);

def __map_values(f): __modify(.[]; f);
def __sum_of(f): [f] | __sum;
def __from_entries:
  map({(.key // .Key // .name // .Name): if has("value") then .value else .Value end} | __object) | __sum // {};
def __with_entries(f): __to_entries | map(f) | __from_entries;
def __walk(f):
  def _walk:
    if type == "array" then
      map(_walk)
    elif type == "object" then
      __map_values(_walk)
    end | f;
  _walk;

def __min_by(f): __sorting | _min_by(map([f]) | __sorting);
def __max_by(f): __sorting | _max_by(map([f]) | __sorting);
def __sort_by(f): __sorting | _sort_by(map([f]) | __sorting);
def __group_by(f): __sorting | _group_by(map([f]) | __sorting);
def __unique_by(f): __sorting | _unique_by(map([f]) | __sorting);

def __combinations:
  if length == 0 then
    []
  else
    .[0][] as $x | __add([$x]; .[1:] | __combinations)
  end;
def __combinations_of(n): [limit(n; repeat(.))] | __combinations;

def __del(f): __delpaths([path(f)]);
def __pick(f): . as $v | reduce path(f) as $p (null; __setpath($p; $v | getpath($p)));
def __fromstream(f):
  foreach f as $pv (
    null;
    if .e then null end |
    $pv as [$p, $v] |
    if $pv | length == 2 then
      __setpath(__add(["v"]; $p); $v) |
      __setpath(["e"]; $p | length == 0)
    else
      __setpath(["e"]; $p | length == 1)
    end;
    if .e then .v else empty end
  );

def __match_with($re; $flags): __matches($re; $flags; false)[];
def __match($re): if $re | type == "array" then __match_with($re[0]; $re[1]) else __match_with($re; null) end;
def __test_with($re; $flags): __matches($re; $flags; true);
def __test($re): if $re | type == "array" then __test_with($re[0]; $re[1]) else __test_with($re; null) end;
def __capture_with($re; $flags): __match_with($re; $flags) | .captures | __captures | __object;
def __capture($re): if $re | type == "array" then __capture_with($re[0]; $re[1]) else __capture_with($re; null) end;
def __scan_with($re; $flags):
  __match_with($re; __add($flags; "g")) |
  if .captures == [] then .string else [.captures[].string] end;
def __scan($re): __scan_with($re; null);
def __splits_with($re; $flags): __pieces(__matches($re; __add($flags; "g"); false))[];
def __splits($re): __splits_with($re; null);
def __split_with($re; $flags): [__splits_with($re; $flags)];
def __sub_with($re; str; $flags):
  . as $s |
  [__match_with($re; $flags) | [., [.captures | __captures | str]]] as $pairs |
  $s | __splice($pairs)[];
def __sub($re; str): __sub_with($re; str; null);
def __gsub_with($re; str; $flags): __sub_with($re; str; __add($flags; "g"));
def __gsub($re; str): __sub_with($re; str; "g");

def __INDEX_of(stream; f):
  __editor as $e |
  reduce stream as $row ({}; reduce ($row | f | __text) as $k (.; __set([$k]; $row; $e)));
def __INDEX(f): __INDEX_of(.[]; f);
def __IN(s): any(__equal(s; .); .);
def __IN_of(src; s): any(__equal(src; s); .);

.
