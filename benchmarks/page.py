def render(found): return b''
